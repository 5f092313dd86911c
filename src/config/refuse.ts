import type { Message } from "@bufbuild/protobuf";
import type { FieldPath } from "./field-path.ts";

/** A message's own fields. A oneof is no field; take it apart with a switch over its cases. */
type Fields<Rest> = keyof {
  readonly [Field in Exclude<keyof Rest, keyof Message> as Rest[Field] extends { case: unknown }
    ? never
    : Field]: Field;
};

/**
 * Why each of a message's remaining fields is refused, and what to do instead: what follows "FIELD is not
 * supported: ".
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
 * left. At run time, records with the path each field that is set: to anything but zero, false, "", an empty list or
 * an empty map, which in proto3 are the same as leaving it out.
 */
export function refuse<Rest extends Message>(
  rest: Rest,
  path: FieldPath,
  ...[refusals]: [keyof Refusals<Rest>] extends [never] ? [] : [Refusals<Rest>]
): void {
  for (const [field, reason] of Object.entries<string>(refusals ?? {})) {
    if (isSet(rest[field as keyof Rest])) {
      path.field(field).refused(reason);
    }
  }
}

/**
 * Takes out of what is left of a message the fields that tune something which is done otherwise here, so that it
 * changes no result to do without them. Each says what is done instead, which is recorded with the path if the field
 * is set. Returns the others, for {@link refuse}:
 *
 *     refuse(accept(rest, path, { zstdPool: "…" }), path, { proxyUrl: "…" });
 */
export function accept<Rest extends Message, Accepted extends Fields<Rest>>(
  rest: Rest,
  path: FieldPath,
  accepted: Readonly<Record<Accepted, string>>,
): Omit<Rest, Accepted> & Message {
  const others: Partial<Rest> & Message = { ...rest };
  for (const [field, instead] of Object.entries<string>(accepted)) {
    if (isSet(rest[field as keyof Rest])) {
      path.field(field).otherwise(instead);
    }
    delete others[field as keyof Rest];
  }
  return others as Omit<Rest, Accepted> & Message;
}

function isSet(value: unknown): boolean {
  if (typeof value !== "object" || value === null) {
    return Boolean(value);
  }
  // A message counts even where it is empty.
  return "$typeName" in value || Object.keys(value).length > 0;
}
