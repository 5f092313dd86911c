import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Handlers } from "../../grpc/handlers.ts";
import { unary } from "../../grpc/handlers.ts";
import {
  type Capabilities,
  Compressor_Value,
  type ServerCapabilitiesSchema,
  SymlinkAbsolutePathStrategy_Value,
} from "../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { DIGEST_FUNCTIONS, SHA256 } from "../../reapi/digest.ts";
import { MAXIMUM_BATCH_BYTES } from "./content-addressable-storage.ts";

const CAPABILITIES: MessageInitShape<typeof ServerCapabilitiesSchema> = {
  cacheCapabilities: {
    digestFunctions: DIGEST_FUNCTIONS.map(({ value }) => value),
    actionCacheUpdateCapabilities: { updateEnabled: true },
    maxBatchTotalSizeBytes: BigInt(MAXIMUM_BATCH_BYTES),
    symlinkAbsolutePathStrategy: SymlinkAbsolutePathStrategy_Value.ALLOWED,
    supportedCompressors: [Compressor_Value.ZSTD],
    supportedBatchUpdateCompressors: [Compressor_Value.ZSTD],
  },
  executionCapabilities: {
    digestFunction: SHA256.value,
    digestFunctions: DIGEST_FUNCTIONS.map(({ value }) => value),
    execEnabled: true,
  },
  // 2.0 clients declare outputs by kind and give the platform in the Command; both are served.
  deprecatedApiVersion: { major: 2, minor: 0 },
  lowApiVersion: { major: 2, minor: 0 },
  highApiVersion: { major: 2, minor: 11 },
};

/** The REAPI service Capabilities: what storage and scheduler can do. */
export function capabilitiesService(): Handlers<typeof Capabilities> {
  return { getCapabilities: unary(() => CAPABILITIES) };
}
