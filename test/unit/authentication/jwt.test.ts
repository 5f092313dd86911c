import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import type { JsonObject } from "@bufbuild/protobuf";
import fc from "fast-check";
import { AuthenticationError } from "../../../src/authentication/error.ts";
import { TokenVerifier } from "../../../src/authentication/jwt.ts";
import type { JwtSettings } from "../../../src/authentication/settings.ts";

/** What Buildbarn's AuthorizationHeaderParser makes of headers, with these keys or the common ones. */
interface Vector {
  readonly name: string;
  readonly jwks?: JsonObject;
  /** Seconds since the epoch. */
  readonly now: number;
  readonly claims?: string;
  readonly extract?: string;
  readonly headers: readonly string[];
  readonly keysError?: true;
  readonly refused?: true;
  readonly metadata?: JsonObject;
}

const { jwks: commonKeys, vectors } = JSON.parse(
  readFileSync(join(import.meta.dirname, "jwt-vectors.json"), "utf8"),
) as { readonly jwks: JsonObject; readonly vectors: readonly Vector[] };

const REFUSAL = "No valid authorization header containing a bearer token provided";

function settings({
  jwks = commonKeys,
  claims = "`true`",
  extract = "{public: payload.sub}",
}: Partial<Vector>) {
  return {
    keys: { set: jwks },
    maximumCacheSize: 10,
    claimsValidation: { expression: claims, files: [] },
    metadataExtraction: { expression: extract, files: [] },
  } satisfies JwtSettings;
}

const valid = vectors.find(({ name }) => name === "EdDSA")!;
const { headers } = valid;

describe("TokenVerifier", () => {
  for (const vector of vectors) {
    it(`judges as Buildbarn does: ${vector.name}`, () => {
      const verifier = () => new TokenVerifier(settings(vector), () => vector.now * 1000);
      if (vector.keysError) {
        assert.throws(verifier, Error);
        return;
      }
      const verify = () => verifier().verify(vector.headers);
      if (vector.refused) {
        assert.throws(verify, { name: "AuthenticationError", code: 16, message: REFUSAL });
      } else {
        assert.deepEqual(verify(), vector.metadata ?? {});
      }
    });
  }

  it("remembers tokens, but not for longer than they are valid", () => {
    let now = valid.now;
    const verifier = new TokenVerifier(settings(valid), () => now * 1000);
    assert.deepEqual(verifier.verify(headers), valid.metadata);
    assert.deepEqual(verifier.verify(headers), valid.metadata);
    now = 1e9;
    assert.throws(() => verifier.verify(headers), AuthenticationError);
    now = valid.now;
    assert.deepEqual(verifier.verify(headers), valid.metadata);
  });

  it("has the keys of a file, as it was when last read and could be used", async () => {
    const folder = mkdtempSync(join(tmpdir(), "jwt-"));
    after(() => rmSync(folder, { recursive: true }));
    const file = join(folder, "keys");
    const unknown = { ...settings(valid), maximumCacheSize: 1, keys: { file } };
    assert.throws(() => new TokenVerifier(unknown), /ENOENT/);
    writeFileSync(file, '{"keys": []}');
    using verifier = new TokenVerifier(unknown, () => valid.now * 1000);
    const other = ["Bearer a.b.c"];
    assert.throws(() => verifier.verify(headers), AuthenticationError);
    writeFileSync(file, JSON.stringify(commonKeys));
    await verifier.refresh(file);
    // Only what is not remembered is judged by the new keys, as in Buildbarn.
    assert.throws(() => verifier.verify(other), AuthenticationError);
    assert.deepEqual(verifier.verify(headers), valid.metadata);
    writeFileSync(file, "{");
    await verifier.refresh(file);
    assert.throws(() => verifier.verify(other), AuthenticationError);
    assert.deepEqual(verifier.verify(headers), valid.metadata);
  });

  it("lets nobody in by other bytes", () => {
    const verifier = new TokenVerifier(settings(valid), () => valid.now * 1000);
    const [header] = headers as [string];
    fc.assert(
      fc.property(fc.nat(header.length - 1), fc.string({ maxLength: 3 }), (at, piece) => {
        const changed = header.slice(0, at) + piece + header.slice(at + 1);
        fc.pre(changed.replace(/\s+/, " ") !== header);
        try {
          verifier.verify([changed]);
        } catch (error) {
          assert.ok(error instanceof AuthenticationError);
          return;
        }
        // The last character of base64 has bits that mean nothing.
        assert.deepEqual(Buffer.from(changed, "base64url"), Buffer.from(header, "base64url"));
      }),
    );
  });
});
