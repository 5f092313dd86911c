import { create } from "@bufbuild/protobuf";
import {
  type NodeProperties,
  NodePropertiesSchema,
} from "../../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import type { ActionFile, ActionFolder } from "../action-files.ts";

/** The message's field, empty where nothing is asked for. */
export interface WithNodeProperties {
  readonly nodeProperties?: NodeProperties;
}

/** What is told of an output file or directory beside its content. */
export type DescribeNode = (node: ActionFile | ActionFolder) => Promise<WithNodeProperties>;

/** What a google.protobuf.Timestamp can hold: the years 1 to 9999. */
const EARLIEST_SECONDS = -62_135_596_800;
const LATEST_SECONDS = 253_402_300_799;

/**
 * Describes nodes by those of a Command's output_node_properties that there are here: "mtime" and "unix_mode" (set-user-id,
 * set-group-id and sticky included). Nothing is told of others.
 */
export function nodeDescriber(names: readonly string[]): DescribeNode {
  const wantsTime = names.includes("mtime");
  const wantsMode = names.includes("unix_mode");
  return async (node) => {
    if (!wantsTime && !wantsMode) {
      return {};
    }
    const { mode, modifyTime } = await node.attributes();
    const { seconds, nanoseconds } = modifyTime;
    // An action may set any time.
    const hasTime = wantsTime && seconds >= EARLIEST_SECONDS && seconds <= LATEST_SECONDS;
    return {
      nodeProperties: create(NodePropertiesSchema, {
        ...(hasTime && { mtime: { seconds: BigInt(seconds), nanos: nanoseconds } }),
        ...(wantsMode && { unixMode: mode }),
      }),
    };
  };
}
