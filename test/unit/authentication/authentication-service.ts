import { type MessageInitShape, toJson } from "@bufbuild/protobuf";
import { type Metadata, Server, ServerCredentials } from "@grpc/grpc-js";
import { addService, unary } from "../../../src/grpc/handlers.ts";
import {
  type AuthenticateRequest,
  AuthenticateRequestSchema,
  type AuthenticateResponseSchema,
  Authentication,
} from "../../../src/proto/gen/buildbarn/auth/auth_pb.ts";

export type Verdict = MessageInitShape<typeof AuthenticateResponseSchema>;

/** A question that the service was asked and has not answered by itself. */
export interface Question {
  /** As JSON. */
  readonly request: unknown;
  readonly metadata: Metadata;
  /** Aborts when the one who asked does not want to know any more. */
  readonly signal: AbortSignal;
  answer(verdict: Verdict): void;
  fail(error: Error): void;
}

/** buildbarn.auth.Authentication on loopback, whose answers a test gives. */
export class AuthenticationService implements Disposable {
  readonly #server = new Server();
  readonly #questions: Question[] = [];
  readonly #waiting: ((question: Question) => void)[] = [];
  /** All that were asked. */
  count = 0;
  address = "";

  static async start(): Promise<AuthenticationService> {
    const service = new AuthenticationService();
    addService(service.#server, Authentication, {
      authenticate: unary((request: AuthenticateRequest, { metadata, signal }) => {
        const { promise, resolve, reject } = Promise.withResolvers<Verdict>();
        service.#ask({
          request: toJson(AuthenticateRequestSchema, request),
          metadata,
          signal,
          answer: resolve,
          fail: reject,
        });
        return promise;
      }),
    });
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    service.#server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, port) =>
      error ? reject(error) : resolve(port),
    );
    service.address = `127.0.0.1:${await promise}`;
    return service;
  }

  /** The next question that is asked, or was and has not been taken. */
  next(): Promise<Question> {
    const question = this.#questions.shift();
    return question ? Promise.resolve(question) : new Promise((resolve) => this.#waiting.push(resolve));
  }

  [Symbol.dispose](): void {
    this.#server.forceShutdown();
  }

  #ask(question: Question): void {
    this.count++;
    const taker = this.#waiting.shift();
    if (taker) {
      taker(question);
    } else {
      this.#questions.push(question);
    }
  }
}
