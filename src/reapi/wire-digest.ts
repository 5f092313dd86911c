import type {
  DigestFunction_Value,
  Digest as DigestMessage,
} from "../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { type Digest, type DigestFunction, digestFunctionFor } from "./digest.ts";

/** A digest as plain data, which can be sent to a thread. */
export interface PortableDigest {
  readonly instanceName: string;
  /** REAPI's `DigestFunction.Value`. */
  readonly function: number;
  readonly hash: string;
  readonly sizeBytes: number;
}

/** For a thread; under the instance name that the server knows it by. */
export function toPortable(digest: Digest, instanceName: string): PortableDigest {
  return {
    instanceName,
    function: digest.function.value,
    hash: digest.hash,
    sizeBytes: digest.sizeBytes,
  };
}

export function fromPortable(digest: PortableDigest): Digest {
  return { ...digest, function: digestFunctionFor(digest.function, digest.hash) };
}

/** REAPI's Digest message. */
export function digestMessage(digest: Digest): Pick<DigestMessage, "hash" | "sizeBytes" | "$typeName"> {
  return {
    $typeName: "build.bazel.remote.execution.v2.Digest",
    hash: digest.hash,
    sizeBytes: BigInt(digest.sizeBytes),
  };
}

/** As generated code has it. */
export function functionValue(digestFunction: DigestFunction): DigestFunction_Value {
  return digestFunction.value as DigestFunction_Value;
}
