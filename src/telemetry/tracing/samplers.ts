import {
  AlwaysOffSampler,
  AlwaysOnSampler,
  ParentBasedSampler,
  type Sampler,
  SamplingDecision,
  type SamplingResult,
  TraceIdRatioBasedSampler,
} from "@opentelemetry/sdk-trace";
import type { SamplerSettings } from "./settings.ts";

export function samplerOf(settings: SamplerSettings): Sampler {
  switch (settings.policy) {
    case "always":
      return new AlwaysOnSampler();
    case "never":
      return new AlwaysOffSampler();
    case "traceIdRatioBased":
      return new TraceIdRatioBasedSampler(settings.ratio);
    case "maximumRate":
      return new MaximumRateSampler(settings.samplesPerEpoch, settings.epochMilliseconds);
    case "parentBased":
      return new ParentBasedSampler({
        root: samplerOf(settings.noParent),
        localParentNotSampled: samplerOf(settings.localParentNotSampled),
        localParentSampled: samplerOf(settings.localParentSampled),
        remoteParentNotSampled: samplerOf(settings.remoteParentNotSampled),
        remoteParentSampled: samplerOf(settings.remoteParentSampled),
      });
  }
}

/**
 * As Buildbarn's: in each epoch so many, the first ones that come; an epoch begins with the first one after the last
 * epoch's end.
 */
export class MaximumRateSampler implements Sampler {
  readonly #samplesPerEpoch: number;
  readonly #epochMilliseconds: number;
  readonly #now: () => number;
  #left = 0;
  #epochEnd = Number.NEGATIVE_INFINITY;

  constructor(samplesPerEpoch: number, epochMilliseconds: number, now = () => performance.now()) {
    this.#samplesPerEpoch = samplesPerEpoch;
    this.#epochMilliseconds = epochMilliseconds;
    this.#now = now;
  }

  shouldSample(): SamplingResult {
    if (this.#left > 0) {
      this.#left--;
      return { decision: SamplingDecision.RECORD_AND_SAMPLED };
    }
    const now = this.#now();
    if (now >= this.#epochEnd) {
      this.#left = this.#samplesPerEpoch - 1;
      this.#epochEnd = now + this.#epochMilliseconds;
      return { decision: SamplingDecision.RECORD_AND_SAMPLED };
    }
    return { decision: SamplingDecision.NOT_RECORD };
  }

  toString(): string {
    return "MaximumRateSampler";
  }
}
