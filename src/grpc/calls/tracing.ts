import type { DescField, DescMessage, DescMethod } from "@bufbuild/protobuf";
import { ServerInterceptingCall, type ServerInterceptor, status } from "@grpc/grpc-js";
import type {
  Attributes,
  AttributeValue,
  Span,
  TraceContext,
  Tracer,
} from "../../telemetry/tracing/spans.ts";
import type { Service } from "../service-definition.ts";

/** Which fields of a method's first messages become attributes of its span, as dotted paths: "action_digest.hash". */
export interface TracedFields {
  readonly request: readonly string[];
  readonly response: readonly string[];
}

/** By method, "/PACKAGE.SERVICE/METHOD". */
export type TracedMethods = Readonly<Record<string, TracedFields>>;

const NO_FIELDS: TracedFields = { request: [], response: [] };

/** A method's name and the types of its messages. */
export interface TracedMethod {
  readonly path: string;
  readonly input: DescMessage;
  readonly output: DescMessage;
}

/** What a method's calls show of themselves. */
export class CallTracing {
  readonly name: string;
  readonly attributes: Attributes;
  readonly #method: TracedMethod;
  readonly #fields: TracedFields;

  constructor(method: TracedMethod, traced: TracedMethods = {}) {
    const [, service = "", name = ""] = method.path.split("/");
    this.name = method.path.slice(1);
    this.attributes = { "rpc.system": "grpc", "rpc.service": service, "rpc.method": name };
    this.#method = method;
    this.#fields = traced[method.path] ?? NO_FIELDS;
  }

  request(span: Span, message: unknown): void {
    this.#show(span, "request", this.#method.input, this.#fields.request, message);
  }

  response(span: Span, message: unknown): void {
    this.#show(span, "response", this.#method.output, this.#fields.response, message);
  }

  /** Ends the span of a call with its status. */
  ended(span: Span, code: number, details: string): void {
    span.set({ "rpc.grpc.status_code": code });
    span.end(code === status.OK ? undefined : details);
  }

  #show(span: Span, side: string, type: DescMessage, paths: readonly string[], message: unknown): void {
    if (paths.length === 0 || !span.isRecording || typeof message !== "object" || message === null) {
      return;
    }
    const found = paths.flatMap((path) => {
      const value = fieldValue(type, message, path.split(".").filter(Boolean));
      return value === undefined ? [] : [[`${side}.${path}`, value] as const];
    });
    span.set(Object.fromEntries(found));
  }
}

/** A span for each call that a server serves, continuing the caller's. */
export function tracingServer(
  tracer: Tracer,
  services: readonly Service[],
  traced: TracedMethods,
): ServerInterceptor {
  const tracings = new Map(
    services.flatMap((service) =>
      Object.values<DescMethod>(service.method).map(({ name, input, output }) => {
        const path = `/${service.typeName}/${name}`;
        return [path, new CallTracing({ path, input, output }, traced)] as const;
      }),
    ),
  );
  return ({ path }, serverCall) => {
    const tracing = tracings.get(path);
    if (tracing === undefined) {
      return new ServerInterceptingCall(serverCall);
    }
    let span: Span | undefined;
    const ended = (code: number, details: string) => span && tracing.ended(span, code, details);
    return new ServerInterceptingCall(serverCall, {
      start(next) {
        next({
          onReceiveMetadata(metadata, nextMetadata) {
            const parent: TraceContext = Object.fromEntries(
              ["traceparent", "tracestate"].flatMap((header) =>
                metadata.get(header).map((value) => [header, String(value)]),
              ),
            );
            span = tracer.start(tracing.name, parent, { kind: "server", attributes: tracing.attributes });
            nextMetadata(metadata);
          },
          onReceiveMessage(message, nextMessage) {
            if (span) {
              tracing.request(span, message);
            }
            nextMessage(message);
          },
          onCancel: () => ended(status.CANCELLED, "the client cancelled the call"),
        });
      },
      sendMessage(message, next) {
        if (span) {
          tracing.response(span, message);
        }
        next(message);
      },
      sendStatus(ending, next) {
        ended(ending.code ?? status.UNKNOWN, ending.details ?? "");
        next(ending);
      },
    });
  };
}

/** The value at a path; undefined where there is none that an attribute can have. */
function fieldValue(type: DescMessage, message: object, path: readonly string[]): AttributeValue | undefined {
  const [first, ...rest] = path;
  const field = type.fields.find(({ name, jsonName }) => name === first || jsonName === first);
  if (field === undefined) {
    return undefined;
  }
  const value = contentOf(field, message);
  if (field.fieldKind === "message" && rest.length > 0) {
    return typeof value === "object" && value !== null ? fieldValue(field.message, value, rest) : undefined;
  }
  return rest.length > 0 ? undefined : attribute(field, value);
}

function contentOf(field: DescField, message: object): unknown {
  const values = message as Readonly<Record<string, unknown>>;
  if (field.oneof === undefined) {
    return values[field.localName];
  }
  const chosen = values[field.oneof.localName] as { case?: string; value?: unknown } | undefined;
  return chosen?.case === field.localName ? chosen.value : undefined;
}

function attribute(field: DescField, value: unknown): AttributeValue | undefined {
  if (Array.isArray(value)) {
    const values = value.map((each) => attribute(field, each));
    return values.includes(undefined) ? undefined : values.map(String);
  }
  if (field.enum !== undefined && typeof value === "number") {
    return field.enum.values.find(({ number }) => number === value)?.name ?? value;
  }
  switch (typeof value) {
    case "string":
    case "number":
    case "boolean":
      return value;
    case "bigint":
      return Number(value);
    default:
      return undefined;
  }
}
