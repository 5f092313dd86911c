import { Metadata } from "@grpc/grpc-js";
import { HttpClient } from "../http/client.ts";
import { TokenSource } from "../http/oauth2.ts";
import type { OAuth2Settings } from "../http/settings.ts";
import { JmespathExpression, type JmespathSettings } from "../jmespath/expression.ts";
import { isArray, isObject, type ObjectValue, type Value } from "../jmespath/values.ts";
import { Code } from "../proto/gen/google/rpc/code_pb.ts";
import type { IncomingCall } from "./incoming-call.ts";
import { failure } from "./status.ts";

/** What headers all calls through a channel have, as plain data. */
export interface CallHeadersOptions {
  /** Headers sent with every call, name and value; a name may occur more than once. */
  readonly metadata?: readonly (readonly [name: string, value: string])[];
  /** What makes further headers of what a call is made for. */
  readonly metadataExpression?: JmespathSettings;
  /** Headers that a call has of the one it is made for, or else of the last one that had them. */
  readonly forwardedHeaders?: readonly string[];
  /** Where the tokens come from that are sent with every call. */
  readonly oauth2?: OAuth2Settings;
}

/** The headers that every call through a channel has. */
export class CallHeaders implements Disposable {
  readonly #constant: readonly (readonly [string, string])[];
  readonly #expression: JmespathExpression | undefined;
  readonly #tokens: TokenSource | undefined;
  /** What the last call had of each header that is forwarded. */
  readonly #forwarded: Map<string, readonly (string | Buffer)[]>;

  constructor({ metadata = [], metadataExpression, forwardedHeaders = [], oauth2 }: CallHeadersOptions) {
    this.#constant = metadata;
    this.#expression = metadataExpression && new JmespathExpression(metadataExpression);
    this.#tokens = oauth2 && new TokenSource(oauth2, new HttpClient(oauth2.httpClient));
    this.#forwarded = new Map(forwardedHeaders.map((name) => [name, []]));
  }

  /**
   * A new object for each call, as grpc-js and its users may add to it. Throws or rejects with a StatusError if there
   * are headers that cannot be had: NOT_FOUND if the expression makes nothing, INVALID_ARGUMENT if what it makes is no
   * headers, UNKNOWN if it fails, UNAUTHENTICATED without a token.
   */
  of(own: Metadata | undefined, incoming: IncomingCall | undefined): Metadata | Promise<Metadata> {
    const metadata = own?.clone() ?? new Metadata();
    for (const [name, values] of this.#forwarded) {
      const found = incoming?.metadata.get(name) ?? [];
      for (const value of found.length > 0 ? found : values) {
        metadata.add(name, value);
      }
    }
    for (const [name, value] of this.#constant) {
      add(metadata, name, value);
    }
    if (this.#expression !== undefined) {
      for (const [name, value] of extracted(this.#expression, incoming)) {
        add(metadata, name, value);
      }
    }
    return this.#tokens === undefined ? metadata : authorized(metadata, this.#tokens);
  }

  /** The call that was made for another one was answered: the headers it had of it are kept for later ones. */
  succeeded(incoming: IncomingCall | undefined): void {
    for (const name of this.#forwarded.keys()) {
      const values = incoming?.metadata.get(name) ?? [];
      if (values.length > 0) {
        this.#forwarded.set(name, values);
      }
    }
  }

  [Symbol.dispose](): void {
    this.#expression?.[Symbol.dispose]();
  }
}

function add(metadata: Metadata, name: string, value: string): void {
  try {
    metadata.add(name, name.toLowerCase().endsWith("-bin") ? Buffer.from(value) : value);
  } catch (error) {
    throw failure(
      Code.INTERNAL,
      `the header ${JSON.stringify(name)} cannot be sent: ${(error as Error).message}`,
    );
  }
}

/** Names and values. */
function extracted(
  expression: JmespathExpression,
  incoming: IncomingCall | undefined,
): readonly (readonly [string, string])[] {
  let found: Value;
  try {
    found = expression.search({
      authenticationMetadata: (incoming?.authentication ?? {}) as ObjectValue,
      ...(incoming && { incomingGRPCMetadata: listsOf(incoming.metadata) }),
    });
  } catch (error) {
    const { message } = error as Error;
    throw failure(Code.UNKNOWN, `Failed to extract metadata: Failed to evaluate JMESPath: ${message}`);
  }
  if (found === null) {
    throw failure(Code.NOT_FOUND, "Failed to extract metadata: No match evaluating JMESPath");
  }
  if (!isObject(found)) {
    throw noHeaders("Didn't evaluate to map[string][]string");
  }
  return Object.entries(found).flatMap(([name, values]) => {
    if (values !== null && !isArray(values)) {
      throw noHeaders("Non-slice metadata value");
    }
    return (values ?? []).map((value) => {
      if (typeof value !== "string") {
        throw noHeaders("Non-string metadata value");
      }
      return [name, value] as const;
    });
  });
}

function noHeaders(reason: string) {
  return failure(
    Code.INVALID_ARGUMENT,
    `Failed to extract metadata: Failed to extract JMESPath result: ${reason}`,
  );
}

function listsOf(metadata: Metadata): ObjectValue {
  const names = Object.keys(metadata.getMap());
  return Object.fromEntries(names.map((name) => [name, metadata.get(name).map((value) => value.toString())]));
}

async function authorized(metadata: Metadata, tokens: TokenSource): Promise<Metadata> {
  try {
    metadata.add("authorization", await tokens.authorization());
    return metadata;
  } catch (error) {
    throw failure(Code.UNAUTHENTICATED, `no OAuth 2 token: ${(error as Error).message}`, { cause: error });
  }
}
