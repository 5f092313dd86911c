import type { HttpClientSettings } from "../../http/settings.ts";
import type { HttpExecutionTimeoutCompensator } from "../../proto/gen/buildbarn/configuration/bb_worker/bb_worker_pb.ts";
import { all, type FieldPath } from "../field-path.ts";
import { httpClientSettings, httpUrl } from "../network/http-client.ts";
import { refuse } from "../refuse.ts";

/** A server that says when the clocks of timeouts shall stand still. */
export interface HttpCompensatorSettings {
  readonly httpClient: HttpClientSettings;
  /** Is answered when the clocks shall stop. */
  readonly suspendUrl: string;
  /** Is answered when they shall go on. */
  readonly resumeUrl: string;
}

export function httpCompensatorSettings(
  configuration: HttpExecutionTimeoutCompensator,
  path: FieldPath,
): HttpCompensatorSettings {
  const { httpClient, suspendUrl, resumeUrl, ...rest } = configuration;
  refuse(rest, path);
  return all({
    httpClient: () => httpClientSettings(httpClient, path.field("httpClient")),
    suspendUrl: () => httpUrl(suspendUrl, path.field("suspendUrl")),
    resumeUrl: () => httpUrl(resumeUrl, path.field("resumeUrl")),
  });
}
