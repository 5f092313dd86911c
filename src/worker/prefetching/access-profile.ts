import { create, toBinary } from "@bufbuild/protobuf";
import type { AccessProfile } from "../../cas/file-system-access-cache.ts";
import {
  type Action,
  ActionSchema,
} from "../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { computeDigest, type Digest } from "../../reapi/digest.ts";
import type { InputAccess } from "../../vfs/index.ts";
import { type BloomFilterSize, encodeBloomFilter } from "./bloom-filter.ts";
import { PathHash } from "./path-hash.ts";

/**
 * Under which digest the File System Access Cache has what such actions read: that of an Action with nothing but
 * command and platform. `context` gives instance name and digest function.
 */
export function reducedActionDigest({ commandDigest, platform }: Action, context: Digest): Digest {
  const reduced = create(ActionSchema, {
    ...(commandDigest && { commandDigest }),
    ...(platform && { platform }),
  });
  return computeDigest(context.instanceName, context.function, toBinary(ActionSchema, reduced));
}

/** The profile of what was looked at, as Buildbarn's workers write and read it. */
export function profileOf(root: InputAccess, size: BloomFilterSize): AccessProfile {
  const paths: PathHash[] = [];
  const visit = (access: InputAccess, path: PathHash): void => {
    if (!access.isRead) {
      return;
    }
    paths.push(path);
    for (const name of access.files) {
      paths.push(path.append(name));
    }
    for (const directory of access.directories) {
      visit(directory, path.append(directory.name));
    }
  };
  visit(root, PathHash.ROOT);
  return encodeBloomFilter(paths, size);
}

/** What Buildbarn's InputRootResourceUsage counts. */
export interface InputRootUsage {
  readonly directoriesResolved: bigint;
  readonly directoriesRead: bigint;
  readonly filesRead: bigint;
}

export function inputRootUsage(root: InputAccess): InputRootUsage {
  // The root itself is always resolved.
  let directoriesResolved = 1;
  let directoriesRead = 0;
  let filesRead = 0;
  const visit = (access: InputAccess): void => {
    if (!access.isRead) {
      return;
    }
    directoriesResolved += access.subdirectoryCount;
    directoriesRead++;
    filesRead += [...access.files].length;
    access.directories.forEach(visit);
  };
  visit(root);
  return {
    directoriesResolved: BigInt(directoriesResolved),
    directoriesRead: BigInt(directoriesRead),
    filesRead: BigInt(filesRead),
  };
}
