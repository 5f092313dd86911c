import { status as Status } from "@grpc/grpc-js";
import type { Route } from "../../cas/blob-server.ts";
import type {
  DemultiplexedBlobAccessConfiguration,
  DemultiplexingBlobAccessConfiguration,
} from "../../proto/gen/buildbarn/configuration/blobstore/blobstore_pb.ts";
import { BlobError } from "../../reapi/blob-error.ts";
import { each, type FieldPath } from "../field-path.ts";
import { instanceNameOf } from "../instance-name.ts";
import { refuse } from "../refuse.ts";
import type { Place } from "./place.ts";

export function demultiplexingRoute(
  configuration: DemultiplexingBlobAccessConfiguration,
  place: Place,
): Route {
  const { path } = place;
  const { instanceNamePrefixes, ...rest } = configuration;
  refuse(rest, path);
  const backends = [
    ...each(Object.entries(instanceNamePrefixes), ([prefix, demultiplexed]) =>
      demultiplexedBackend(prefix, demultiplexed, {
        ...place,
        path: path.field("instanceNamePrefixes").key(prefix),
      }),
    ),
  ];
  backends.sort((a, b) => b.prefix.length - a.prefix.length);
  return (instanceName, hash) => {
    const segments = segmentsOf(instanceName);
    const found = backends.find(({ prefix }) =>
      prefix.every((segment, index) => segments[index] === segment),
    );
    if (found === undefined) {
      throw new BlobError(
        Status.INVALID_ARGUMENT,
        `no backend is configured for the instance name ${JSON.stringify(instanceName)}`,
      );
    }
    return found.route([...found.added, ...segments.slice(found.prefix.length)].join("/"), hash);
  };
}

function demultiplexedBackend(
  prefix: string,
  configuration: DemultiplexedBlobAccessConfiguration,
  place: Place,
) {
  const { path } = place;
  const { backend, addInstanceNamePrefix, ...rest } = configuration;
  refuse(rest, path);
  return {
    prefix: prefixSegments(prefix, path),
    added: prefixSegments(addInstanceNamePrefix, path.field("addInstanceNamePrefix")),
    route: place.routeTo(backend, { ...place, path: path.field("backend") }),
  };
}

function prefixSegments(instanceName: string, path: FieldPath): readonly string[] {
  return segmentsOf(instanceNameOf(instanceName, path));
}

function segmentsOf(instanceName: string): readonly string[] {
  return instanceName === "" ? [] : instanceName.split("/");
}
