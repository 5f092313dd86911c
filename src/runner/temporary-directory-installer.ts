import { create } from "@bufbuild/protobuf";
import type { Client } from "../grpc/client.ts";
import type { IncomingCall } from "../grpc/incoming-call.ts";
import { StatusError, statusFromError } from "../grpc/status.ts";
import type { TemporaryDirectoryInstaller as Service } from "../proto/gen/buildbarn/tmp_installer/tmp_installer_pb.ts";
import { StatusSchema } from "../proto/gen/google/rpc/status_pb.ts";

/** Another process that makes /tmp lead to the temporary directory of an action, in its own way. */
export class TemporaryDirectoryInstaller {
  readonly #client: Client<typeof Service>;

  constructor(client: Client<typeof Service>) {
    this.#client = client;
  }

  /** Throws a StatusError that names the setting if the installer is not ready, or does not say so in time. */
  checkReadiness(signal: AbortSignal, milliseconds: number, incoming?: IncomingCall): Promise<void> {
    const deadline = Date.now() + milliseconds;
    return named("is not ready", () => this.#client.checkReadiness({}, { signal, deadline, incoming }));
  }

  /** `temporaryDirectory` is relative to the build directory. Throws a StatusError that names the setting. */
  install(temporaryDirectory: string, signal: AbortSignal, incoming?: IncomingCall): Promise<void> {
    return named("cannot install the temporary directory", () =>
      this.#client.installTemporaryDirectory({ temporaryDirectory }, { signal, incoming }),
    );
  }
}

async function named(problem: string, call: () => Promise<unknown>): Promise<void> {
  try {
    await call();
  } catch (error) {
    const found = statusFromError(error);
    const message = `temporaryDirectoryInstaller ${problem}: ${found.message}`;
    throw new StatusError(create(StatusSchema, { ...found, message }), { cause: error });
  }
}
