export type AttributeValue =
  | string
  | number
  | boolean
  | readonly string[]
  | readonly number[]
  | readonly boolean[];
export type Attributes = Readonly<Record<string, AttributeValue>>;

/** The headers of W3C Trace Context, `traceparent` and maybe `tracestate`, by which others continue a trace. */
export type TraceContext = Readonly<Record<string, string>>;

export interface SpanOptions {
  readonly attributes?: Attributes;
  /** What it is in a call between two processes. Default: neither. */
  readonly kind?: "client" | "server";
  /** Milliseconds since the epoch. Default: now. */
  readonly startedAt?: number;
}

/** Some work of which a trace tells when it began and ended. */
export interface Span {
  /** For what others do for it; undefined where there is no tracing. */
  readonly context: TraceContext | undefined;
  /** Whether anybody will see it. */
  readonly isRecording: boolean;
  /** Begins a part of it. */
  child(name: string, options?: SpanOptions): Span;
  set(attributes: Attributes): void;
  /** Has no effect the second time. `failure` says what went wrong, if anything did. */
  end(failure?: string): void;
}

/** Begins spans. */
export interface Tracer {
  /** @param parent Where another process's span is continued. */
  start(name: string, parent?: TraceContext, options?: SpanOptions): Span;
}

/** The span where there is no tracing. */
export const NO_SPAN: Span = {
  context: undefined,
  isRecording: false,
  child: () => NO_SPAN,
  set() {},
  end() {},
};

export const NO_TRACER: Tracer = { start: () => NO_SPAN };

/** Ends the span when the promise settles, which it returns. */
export async function during<T>(span: Span, work: Promise<T>): Promise<T> {
  try {
    const result = await work;
    span.end();
    return result;
  } catch (error) {
    span.end(error instanceof Error ? error.message : String(error));
    throw error;
  }
}
