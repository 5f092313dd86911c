import assert from "node:assert/strict";
import { test } from "node:test";
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { anyUnpack } from "@bufbuild/protobuf/wkt";
import { Code } from "../../../src/proto/gen/google/rpc/code_pb.ts";
import { PreconditionFailureSchema } from "../../../src/proto/gen/google/rpc/error_details_pb.ts";
import { StatusSchema } from "../../../src/proto/gen/google/rpc/status_pb.ts";
import { makeDigest, SHA256 } from "../../../src/reapi/digest.ts";
import { missingBlobs } from "../../../src/reapi/missing-blobs.ts";

test("each missing blob is named in a PreconditionFailure", () => {
  const digest = makeDigest("main", SHA256, "0".repeat(64), 123);
  const encoded = toBinary(StatusSchema, missingBlobs("Input is missing", [digest]));
  const { code, details } = fromBinary(StatusSchema, encoded);
  assert.equal(code, Code.FAILED_PRECONDITION);
  assert.equal(details[0]?.typeUrl, "type.googleapis.com/google.rpc.PreconditionFailure");
  const failure = anyUnpack(details[0], PreconditionFailureSchema);
  assert.deepEqual(
    failure?.violations.map(({ type, subject }) => ({ type, subject })),
    [{ type: "MISSING", subject: `blobs/${"0".repeat(64)}/123` }],
  );
});
