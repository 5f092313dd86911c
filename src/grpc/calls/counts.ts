import type { DescMethod } from "@bufbuild/protobuf";
import type { Service } from "../service-definition.ts";

/** What is counted of a method besides its buckets and codes: one number each, in this order. */
const STARTED = 0;
const SENT = 1;
const RECEIVED = 2;
const NANOSECONDS = 3;
const CODES = 4;
/** gRPC's statuses are 0 to 16. */
const CODE_COUNT = 17;

/** A method as metrics name it. */
export interface CountedMethod {
  readonly path: string;
  readonly service: string;
  readonly method: string;
  readonly kind: DescMethod["methodKind"];
}

/** Plain data, with which threads count together. */
export interface SharedCallCounts {
  readonly methods: readonly CountedMethod[];
  /** Upper bounds of the buckets of calls' durations, in seconds. */
  readonly bounds: readonly number[];
  readonly buffer: SharedArrayBuffer;
}

/** What was counted of a method that was called. */
export interface CallCount extends CountedMethod {
  readonly started: number;
  readonly messagesSent: number;
  readonly messagesReceived: number;
  /** Calls that have ended, by status. */
  readonly codes: readonly number[];
  /** And by duration: one more than there are bounds. */
  readonly buckets: readonly number[];
  readonly seconds: number;
}

/** A call while it is counted. */
export interface CountedCall {
  sent(): void;
  received(): void;
  /** Only the first one counts. */
  ended(code: number): void;
}

/** Counts gRPC calls by method, in this and in other threads. */
export class CallCounts {
  readonly shared: SharedCallCounts;
  readonly #numbers: BigInt64Array;
  readonly #offsets: ReadonlyMap<string, number>;

  /** Takes part in the counting of others. */
  constructor(shared: SharedCallCounts) {
    this.shared = shared;
    this.#numbers = new BigInt64Array(shared.buffer);
    const size = numbersPerMethod(shared.bounds);
    this.#offsets = new Map(shared.methods.map(({ path }, index) => [path, index * size]));
  }

  /** Counts the calls of these services; those of others are not counted. */
  static of(services: readonly Service[], bounds: readonly number[]): CallCounts {
    const methods = services.flatMap((service) =>
      Object.values<DescMethod>(service.method).map((method) => ({
        path: `/${service.typeName}/${method.name}`,
        service: service.typeName,
        method: method.name,
        kind: method.methodKind,
      })),
    );
    const bytes = methods.length * numbersPerMethod(bounds) * BigInt64Array.BYTES_PER_ELEMENT;
    return new CallCounts({ methods, bounds, buffer: new SharedArrayBuffer(bytes) });
  }

  /** Begins to count a call; undefined if calls of its method are not counted. */
  start(path: string): CountedCall | undefined {
    const offset = this.#offsets.get(path);
    if (offset === undefined) {
      return undefined;
    }
    const numbers = this.#numbers;
    const { bounds } = this.shared;
    const startedAt = performance.now();
    let ended = false;
    const add = (index: number, value = 1n) => Atomics.add(numbers, offset + index, value);
    add(STARTED);
    return {
      sent: () => add(SENT),
      received: () => add(RECEIVED),
      ended(code) {
        if (ended) {
          return;
        }
        ended = true;
        const seconds = (performance.now() - startedAt) / 1000;
        const bucket = bounds.findIndex((bound) => seconds <= bound);
        add(NANOSECONDS, BigInt(Math.round(seconds * 1e9)));
        add(CODES + (code >= 0 && code < CODE_COUNT ? code : 2));
        add(CODES + CODE_COUNT + (bucket === -1 ? bounds.length : bucket));
      },
    };
  }

  /** The methods that were called. */
  *read(): Iterable<CallCount> {
    const { methods, bounds } = this.shared;
    for (const method of methods) {
      const offset = this.#offsets.get(method.path)!;
      const number = (index: number) => Number(Atomics.load(this.#numbers, offset + index));
      const range = (start: number, count: number) =>
        Array.from({ length: count }, (_, index) => number(start + index));
      const started = number(STARTED);
      if (started > 0) {
        yield {
          ...method,
          started,
          messagesSent: number(SENT),
          messagesReceived: number(RECEIVED),
          codes: range(CODES, CODE_COUNT),
          buckets: range(CODES + CODE_COUNT, bounds.length + 1),
          seconds: number(NANOSECONDS) / 1e9,
        };
      }
    }
  }
}

function numbersPerMethod(bounds: readonly number[]): number {
  return CODES + CODE_COUNT + bounds.length + 1;
}
