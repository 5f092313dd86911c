import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { LRUCache } from "lru-cache";
import { JmespathExpression } from "../jmespath/expression.ts";
import { fromJson, isObject, member, type Value } from "../jmespath/values.ts";
import { unauthenticated } from "./error.ts";
import { JsonWebKeys } from "./json-web-keys.ts";
import { type AuthenticationMetadata, metadataFrom } from "./metadata.ts";
import type { JwtSettings } from "./settings.ts";

/** How often a file of keys is read again. */
const REFRESH_MILLISECONDS = 300_000;

const BEARER = /^Bearer[\t\n\f\r ]+(([-\w]+)\.([-\w]+))\.([-\w]+)$/;

/** What is known of a token: whom it stands for, and when, in seconds since the epoch. */
interface Verdict {
  readonly metadata: AuthenticationMetadata;
  readonly notBefore: number;
  readonly expires: number;
}

/** Lets in whoever has a JSON Web Token that one of the keys has signed and the validation expression accepts. */
export class TokenVerifier implements Disposable {
  readonly #claimsValidation: JmespathExpression;
  readonly #metadataExtraction: JmespathExpression;
  /** By header; false for a token that is never right. */
  readonly #verdicts: LRUCache<string, Verdict | false>;
  readonly #now: () => number;
  readonly #timer: NodeJS.Timeout | undefined;
  #keys: JsonWebKeys;

  /** Throws an Error for keys that cannot be read or used. */
  constructor(
    { keys, maximumCacheSize, claimsValidation, metadataExtraction }: JwtSettings,
    now: () => number = Date.now,
  ) {
    this.#claimsValidation = new JmespathExpression(claimsValidation);
    this.#metadataExtraction = new JmespathExpression(metadataExtraction);
    // Not as `max`, for which it would allocate at once.
    this.#verdicts = new LRUCache({ maxSize: maximumCacheSize, sizeCalculation: () => 1 });
    this.#now = now;
    if ("set" in keys) {
      this.#keys = new JsonWebKeys(keys.set);
    } else {
      this.#keys = new JsonWebKeys(JSON.parse(readFileSync(keys.file, "utf8")));
      this.#timer = setInterval(() => void this.refresh(keys.file), REFRESH_MILLISECONDS);
      this.#timer.unref();
    }
  }

  /** Reads the keys anew. If that is not possible, those from before stay. */
  async refresh(file: string): Promise<void> {
    try {
      this.#keys = new JsonWebKeys(JSON.parse(await readFile(file, "utf8")));
    } catch {
      // Half written, perhaps; there is a next time.
    }
  }

  /** @param headers All Authorization headers of a request. Throws an AuthenticationError. */
  verify(headers: readonly string[]): AuthenticationMetadata {
    const now = this.#now() / 1000;
    for (const header of headers) {
      let verdict = this.#verdicts.get(header);
      if (verdict === undefined) {
        verdict = this.#judge(header) ?? false;
        this.#verdicts.set(header, verdict);
      }
      if (verdict !== false && verdict.notBefore <= now && now < verdict.expires) {
        return verdict.metadata;
      }
    }
    throw unauthenticated("No valid authorization header containing a bearer token provided");
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    this.#claimsValidation[Symbol.dispose]();
    this.#metadataExtraction[Symbol.dispose]();
  }

  /** Undefined for what is no token, or one that is not to be believed. */
  #judge(authorization: string): Verdict | undefined {
    const [, signed, ...parts] = BEARER.exec(authorization) ?? [];
    const [header, payload, signature] = parts.map(decoded);
    if (!header || !payload || !signature) {
      return undefined;
    }
    try {
      return this.#isSigned(fromJson(text(header)), Buffer.from(signed!), signature)
        ? this.#believe(fromJson(text(payload)))
        : undefined;
    } catch {
      return undefined;
    }
  }

  #isSigned(header: Value, signed: Buffer, signature: Buffer): boolean {
    const [algorithm, keyId] = [member(header, "alg"), member(header, "kid")];
    return (
      typeof algorithm === "string" &&
      (keyId === null || typeof keyId === "string") &&
      this.#keys.verify(keyId ?? undefined, algorithm, signed, signature)
    );
  }

  #believe(payload: Value): Verdict | undefined {
    if (!isObject(payload) || this.#claimsValidation.search({ payload }) !== true) {
      return undefined;
    }
    return {
      metadata: metadataFrom(this.#metadataExtraction.search({ payload })),
      notBefore: seconds(member(payload, "nbf")) ?? Number.NEGATIVE_INFINITY,
      expires: seconds(member(payload, "exp")) ?? Number.POSITIVE_INFINITY,
    };
  }
}

/** Undefined for what is no base64url. */
function decoded(part: string): Buffer | undefined {
  return part.length % 4 === 1 ? undefined : Buffer.from(part, "base64url");
}

function text(bytes: Buffer): string {
  return new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);
}

/** Of a claim, which is a number, or a string of one. */
function seconds(claim: Value): number | undefined {
  if (claim === null) {
    return undefined;
  }
  const value = typeof claim === "string" ? fromJson(claim) : claim;
  if (typeof value !== "number") {
    throw new Error("a claim that is a time has no number");
  }
  return value;
}
