import type { X509Certificate } from "node:crypto";
import type { TLSSocket } from "node:tls";
import { JmespathExpression } from "../jmespath/expression.ts";
import type { ObjectValue, Value } from "../jmespath/values.ts";
import { unauthenticated } from "./error.ts";
import { type AuthenticationMetadata, metadataFrom } from "./metadata.ts";
import type { ClientCertificateSettings } from "./settings.ts";

/** Lets in whoever shows a certificate of the server's authorities that the validation expression accepts. */
export class ClientCertificateVerifier implements Disposable {
  readonly #validation: JmespathExpression;
  readonly #metadataExtraction: JmespathExpression;
  readonly #now: () => number;

  constructor(
    { validation, metadataExtraction }: Omit<ClientCertificateSettings, "authorities">,
    now: () => number = Date.now,
  ) {
    this.#validation = new JmespathExpression(validation);
    this.#metadataExtraction = new JmespathExpression(metadataExtraction);
    this.#now = now;
  }

  /** Throws an AuthenticationError. */
  verify(tls: TLSSocket | undefined): AuthenticationMetadata {
    if (tls === undefined) {
      throw unauthenticated("Connection was not established using TLS");
    }
    const certificate = tls.getPeerX509Certificate();
    if (certificate === undefined) {
      throw unauthenticated("Client provided no X.509 client certificate");
    }
    // The handshake has checked the chain, against authorities that are the server's.
    const problem = tls.authorized ? this.#expiry(certificate) : String(tls.authorizationError);
    if (problem !== undefined) {
      throw unauthenticated(`Cannot validate X.509 client certificate: ${problem}`);
    }
    const names = namesIn(certificate.subjectAltName ?? "");
    const valid = evaluated(this.#validation, names, "Cannot validate X.509 client certificate claims");
    if (valid !== true) {
      throw unauthenticated("Rejected X.509 client certificate claims");
    }
    return metadataFrom(
      evaluated(this.#metadataExtraction, names, "Cannot extract metadata from X.509 client certificate"),
    );
  }

  [Symbol.dispose](): void {
    this.#validation[Symbol.dispose]();
    this.#metadataExtraction[Symbol.dispose]();
  }

  /** A connection may outlive its certificate. */
  #expiry({ validFromDate, validToDate }: X509Certificate): string | undefined {
    const now = this.#now();
    return now < validFromDate.getTime() || now > validToDate.getTime()
      ? "certificate has expired or is not yet valid"
      : undefined;
  }
}

function evaluated(expression: JmespathExpression, input: ObjectValue, problem: string): Value {
  try {
    return expression.search(input);
  } catch (error) {
    throw unauthenticated(`${problem}: ${(error as Error).message}`, { cause: error });
  }
}

/** A subject alternative name as OpenSSL shows it: a kind, and text that is JSON's where it is not plain. */
const NAME = /([^:,]+):("(?:[^"\\]|\\.)*"|[^,]*)(?:, |$)/g;

export function namesIn(subjectAltName: string): ObjectValue {
  const names = [...subjectAltName.matchAll(NAME)].map(([, kind, text]) => ({
    kind,
    text: text!.startsWith('"') ? (JSON.parse(text!) as string) : text!,
  }));
  const of = (wanted: string) => names.filter(({ kind }) => kind === wanted).map(({ text }) => text);
  return { dnsNames: of("DNS"), emailAddresses: of("email"), uris: of("URI") };
}
