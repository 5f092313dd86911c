import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";
import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { type CookieValue, CookieValueSchema } from "../../proto/gen/buildbarn/http/oidc/oidc_pb.ts";

const CIPHER = "aes-128-gcm";
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/** The cookie in which a browser keeps a session, which it can neither read nor change. */
export class SessionCookie {
  readonly #name: string;
  readonly #key: Buffer;

  /** @param seed 32 bytes: the first half names the cookie, the second one is its key. */
  constructor(seed: Buffer) {
    this.#name = seed.subarray(0, 16).toString("base64url");
    this.#key = seed.subarray(16, 32);
  }

  /** What is in the Cookie headers of a request; undefined where there is none that was sealed here. */
  read(headers: readonly string[]): CookieValue["sessionState"] | undefined {
    const start = `${this.#name}=`;
    const pairs = headers.flatMap((header) => header.split(";")).map((pair) => pair.trim());
    const sealed = pairs.find((pair) => pair.startsWith(start))?.slice(start.length);
    if (sealed === undefined) {
      return undefined;
    }
    try {
      return fromBinary(CookieValueSchema, this.#opened(Buffer.from(sealed, "base64url"))).sessionState;
    } catch {
      return undefined;
    }
  }

  /** The value of a Set-Cookie header. */
  set(sessionState: NonNullable<MessageInitShape<typeof CookieValueSchema>["sessionState"]>): string {
    const nonce = randomBytes(NONCE_BYTES);
    const cipher = createCipheriv(CIPHER, this.#key, nonce);
    const plain = toBinary(CookieValueSchema, create(CookieValueSchema, { sessionState }));
    const sealed = Buffer.concat([nonce, cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
    return `${this.#name}=${sealed.toString("base64url")}; Path=/; HttpOnly; Secure; SameSite=Lax`;
  }

  /** Throws an Error for what was not sealed with this key. */
  #opened(sealed: Buffer): Buffer {
    const decipher = createDecipheriv(CIPHER, this.#key, sealed.subarray(0, NONCE_BYTES), {
      authTagLength: TAG_BYTES,
    });
    decipher.setAuthTag(sealed.subarray(-TAG_BYTES));
    return Buffer.concat([decipher.update(sealed.subarray(NONCE_BYTES, -TAG_BYTES)), decipher.final()]);
  }
}
