import { constants, createPublicKey, type JsonWebKey, type KeyObject, verify } from "node:crypto";

/** Whether a key has made the signature of a token with the algorithm of RFC 7518 or 8037 that the token names. */
export type SignatureCheck = (algorithm: string, signed: Buffer, signature: Buffer) => boolean;

const ECDSA_CURVES: Readonly<Record<string, { algorithm: string; hash: string; signatureBytes: number }>> = {
  "P-256": { algorithm: "ES256", hash: "sha256", signatureBytes: 64 },
  "P-384": { algorithm: "ES384", hash: "sha384", signatureBytes: 96 },
  "P-521": { algorithm: "ES512", hash: "sha512", signatureBytes: 132 },
};

/**
 * The public keys of a JSON Web Key Set (RFC 7517): RSA, ECDSA and Ed25519, as Buildbarn has them. A token that names a
 * key is checked by that one, any other by all.
 */
export class JsonWebKeys {
  readonly #byId = new Map<string, SignatureCheck>();
  readonly #all: SignatureCheck[] = [];

  /** Throws an Error that names the key that cannot be used. */
  constructor(set: unknown) {
    const keys = isObject(set) ? set.keys : undefined;
    if (!Array.isArray(keys)) {
      throw new Error('a JSON Web Key Set is an object with a list of "keys"');
    }
    for (const [index, key] of keys.entries()) {
      const check = checkOf(key, index);
      const id = (key as JsonWebKey).kid;
      if (typeof id === "string" && id !== "") {
        if (this.#byId.has(id)) {
          throw new Error(`several keys have the id ${JSON.stringify(id)}`);
        }
        this.#byId.set(id, check);
      }
      this.#all.push(check);
    }
  }

  /** @param keyId Absent where the token names no key. */
  verify(keyId: string | undefined, algorithm: string, signed: Buffer, signature: Buffer): boolean {
    const checks = keyId === undefined ? this.#all : [this.#byId.get(keyId)];
    return checks.some((check) => check?.(algorithm, signed, signature));
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function checkOf(key: unknown, index: number): SignatureCheck {
  if (!isObject(key)) {
    throw new Error(`key ${index} is no object`);
  }
  if ("d" in key || key.kty === "oct") {
    throw new Error(`key ${index} is secret: give the public key of RSA, ECDSA or Ed25519`);
  }
  let publicKey: KeyObject;
  try {
    publicKey = createPublicKey({ key, format: "jwk" });
  } catch (error) {
    throw new Error(`key ${index} cannot be used: ${(error as Error).message}`, { cause: error });
  }
  switch (key.kty) {
    case "RSA":
      return rsaCheck(publicKey);
    case "EC": {
      const curve = ECDSA_CURVES[String(key.crv)];
      if (curve === undefined) {
        throw new Error(`key ${index} is on the curve ${key.crv}: give P-256, P-384 or P-521`);
      }
      const { algorithm, hash, signatureBytes } = curve;
      return (asked, signed, signature) =>
        asked === algorithm &&
        signature.length === signatureBytes &&
        verify(hash, signed, { key: publicKey, dsaEncoding: "ieee-p1363" }, signature);
    }
    default:
      if (key.crv !== "Ed25519") {
        throw new Error(`key ${index} is of type ${key.kty}, ${key.crv}: give RSA, ECDSA or Ed25519`);
      }
      return (asked, signed, signature) => asked === "EdDSA" && verify(null, signed, publicKey, signature);
  }
}

function rsaCheck(key: KeyObject): SignatureCheck {
  return (algorithm, signed, signature) => {
    const [, scheme, bits] = /^(RS|PS)(256|384|512)$/.exec(algorithm) ?? [];
    const padding =
      scheme === "PS"
        ? { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST }
        : { padding: constants.RSA_PKCS1_PADDING };
    return bits !== undefined && verify(`sha${bits}`, signed, { key, ...padding }, signature);
  };
}
