import { type Digest, makeDigest, SHA256 } from "../src/reapi/digest.ts";

/** A SHA-256 digest as it passes between processes, as JSON. */
export type PlainDigest = Pick<Digest, "hash" | "sizeBytes">;

export function toDigest({ hash, sizeBytes }: PlainDigest): Digest {
  return makeDigest("", SHA256, hash, sizeBytes);
}

export function toPlain({ hash, sizeBytes }: Digest): PlainDigest {
  return { hash, sizeBytes };
}
