import type { Message } from "@bufbuild/protobuf";
import { ConfigurationError } from "./error.ts";

/**
 * Why each of a message's remaining fields is refused, and what to do instead: what follows "FIELD is not
 * supported: ". A oneof is no field; take it apart with a switch over its cases.
 */
export type Refusals<Rest> = {
  readonly [Field in Exclude<keyof Rest, keyof Message>]-?: Rest[Field] extends { case: unknown }
    ? never
    : string;
};

/**
 * Refuses what is left of a message once the fields that have an effect are taken out of it:
 *
 *     const { address, tls, ...rest } = configuration;
 *     refuse(rest, path, { proxyUrl: "…" });
 *
 * A field that is neither taken out nor given a reason does not compile; without a third argument no field may be
 * left. At run time, throws {@link ConfigurationError} for the first field that is set: to anything but zero,
 * false, "", an empty list or an empty map, which in proto3 are the same as leaving it out.
 */
export function refuse<Rest extends Message>(
  rest: Rest,
  path: string,
  ...[refusals]: [keyof Refusals<Rest>] extends [never] ? [] : [Refusals<Rest>]
): void {
  for (const [field, reason] of Object.entries<string>(refusals ?? {})) {
    if (isSet(rest[field as keyof Rest])) {
      throw unsupported(path === "" ? field : `${path}.${field}`, reason);
    }
  }
}

/** The error for a field that is set and has no effect here. */
export function unsupported(path: string, reason: string): ConfigurationError {
  return new ConfigurationError(`${path} is not supported: ${reason}`);
}

function isSet(value: unknown): boolean {
  if (typeof value !== "object" || value === null) {
    return Boolean(value);
  }
  // A message counts even where it is empty.
  return "$typeName" in value || Object.keys(value).length > 0;
}
