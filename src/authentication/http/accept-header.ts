import { unauthenticated } from "../error.ts";

/** A media type or range, such as "text/html" or "text/*". */
interface MediaRange {
  readonly type: string;
  readonly subtype: string;
}

/**
 * Throws an AuthenticationError for an Accept header (RFC 9110 §12.5.1) with none of the media types. As in Buildbarn,
 * both sides may have "*", and neither qualities nor other parameters matter.
 */
export function requireAccepted(accept: readonly string[], mediaTypes: readonly string[]): void {
  const accepted = accept.flatMap((header) => header.split(",")).flatMap(mediaRanges);
  const wanted = mediaTypes.flatMap(mediaRanges);
  if (!accepted.some((range) => wanted.some((other) => matches(range, other)))) {
    throw unauthenticated(`Client does not accept media types [${mediaTypes.join(" ")}]`);
  }
}

/** None for what is no media range. */
export function mediaRanges(text: string): readonly MediaRange[] {
  const [, type, subtype] = /^\s*([^\s/;]+)\/([^\s/;]+)\s*(?:;.*)?$/s.exec(text.toLowerCase()) ?? [];
  return type === undefined || subtype === undefined || (type === "*" && subtype !== "*")
    ? []
    : [{ type, subtype }];
}

function matches(one: MediaRange, other: MediaRange): boolean {
  const same = (a: string, b: string) => a === b || a === "*" || b === "*";
  return same(one.type, other.type) && same(one.subtype, other.subtype);
}
