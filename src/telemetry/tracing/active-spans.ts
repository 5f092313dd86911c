import type { Attributes, Span, SpanOptions, TraceContext, Tracer } from "./spans.ts";

/** A span that has not ended. */
export interface ActiveSpan {
  readonly name: string;
  /** Milliseconds since the epoch. */
  readonly startedAt: number;
  readonly attributes: Attributes;
  /** In the order in which they began. */
  readonly children: ReadonlySet<ActiveSpan>;
}

/** Keeps the spans that have not ended, whether or not anybody records them. */
export class ActiveSpans implements Tracer {
  readonly #base: Tracer;
  readonly #roots = new Set<ActiveSpan>();

  constructor(base: Tracer) {
    this.#base = base;
  }

  /** Those that are no part of another that has not ended. */
  get roots(): ReadonlySet<ActiveSpan> {
    return this.#roots;
  }

  start(name: string, parent?: TraceContext, options?: SpanOptions): Span {
    return new WatchedSpan(this.#base.start(name, parent, options), this.#roots, name, options);
  }
}

class WatchedSpan implements Span, ActiveSpan {
  readonly name: string;
  readonly startedAt: number;
  attributes: Attributes;
  readonly children = new Set<ActiveSpan>();
  readonly #base: Span;
  readonly #siblings: Set<ActiveSpan>;

  constructor(base: Span, siblings: Set<ActiveSpan>, name: string, options: SpanOptions = {}) {
    this.#base = base;
    this.#siblings = siblings;
    this.name = name;
    this.startedAt = options.startedAt ?? Date.now();
    this.attributes = options.attributes ?? {};
    siblings.add(this);
  }

  get context(): TraceContext | undefined {
    return this.#base.context;
  }

  get isRecording(): boolean {
    return true;
  }

  child(name: string, options?: SpanOptions): Span {
    return new WatchedSpan(this.#base.child(name, options), this.children, name, options);
  }

  set(attributes: Attributes): void {
    this.attributes = { ...this.attributes, ...attributes };
    this.#base.set(attributes);
  }

  end(failure?: string): void {
    this.#siblings.delete(this);
    this.#base.end(failure);
  }
}
