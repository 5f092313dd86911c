import { RE2JS } from "re2js";
import type {
  PrometheusPushgatewayConfiguration,
  PrometheusPushgatewayConfiguration_AdditionalScrapeTarget,
} from "../../proto/gen/buildbarn/configuration/global/global_pb.ts";
import type { PushgatewaySettings, ScrapeTarget } from "../../telemetry/metrics/pushgateway.ts";
import { positiveMilliseconds } from "../duration.ts";
import { ConfigurationError } from "../error.ts";
import { all, each, type FieldPath } from "../field-path.ts";
import { httpClientSettings, httpUrl } from "../network/http-client.ts";
import { refuse } from "../refuse.ts";

/** Of Prometheus' data model. */
const LABEL_NAME = /^[a-zA-Z_][a-zA-Z0-9_]*$/;

export function pushgatewaySettings(
  {
    url,
    job,
    grouping,
    pushInterval,
    pushTimeout,
    httpClient,
    additionalScrapeTargets,
    ...rest
  }: PrometheusPushgatewayConfiguration,
  path: FieldPath,
): PushgatewaySettings {
  refuse(rest, path);
  return all({
    // As its Go client does it.
    url: () => httpUrl(url.includes("://") ? url : `http://${url}`, path.field("url")),
    job: () => {
      if (job === "") {
        throw new ConfigurationError(`${path.field("job")} is missing: give a name such as "bb_worker"`);
      }
      return job;
    },
    grouping: () => {
      const wrong = Object.keys(grouping).find((name) => !LABEL_NAME.test(name) || name === "job");
      if (wrong !== undefined) {
        throw new ConfigurationError(
          `${path.field("grouping")} has ${JSON.stringify(wrong)}: give names of labels, letters, digits and "_", but not "job"`,
        );
      }
      return grouping;
    },
    interval: () => positiveMilliseconds(pushInterval, path.field("pushInterval")),
    timeout: () => positiveMilliseconds(pushTimeout, path.field("pushTimeout")),
    httpClient: () => httpClientSettings(httpClient, path.field("httpClient")),
    additionalScrapeTargets: () =>
      each(additionalScrapeTargets, (target, index) =>
        scrapeTarget(target, path.field("additionalScrapeTargets").index(index)),
      ),
  });
}

function scrapeTarget(
  { url, httpClient, metricNamePattern, ...rest }: PrometheusPushgatewayConfiguration_AdditionalScrapeTarget,
  path: FieldPath,
): ScrapeTarget {
  refuse(rest, path);
  return all({
    url: () => httpUrl(url, path.field("url")),
    httpClient: () => httpClientSettings(httpClient, path.field("httpClient")),
    metricNamePattern: () => {
      try {
        RE2JS.compile(metricNamePattern);
      } catch (error) {
        throw new ConfigurationError(
          `${path.field("metricNamePattern")} is ${JSON.stringify(metricNamePattern)}: ${(error as Error).message}`,
          { cause: error },
        );
      }
      return metricNamePattern;
    },
  });
}
