import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { anyUnpack } from "@bufbuild/protobuf/wkt";
import { Metadata } from "@grpc/grpc-js";
import { missingBlobs, StatusError, status, statusFromError } from "../../../src/grpc/status.ts";
import { Code } from "../../../src/proto/gen/google/rpc/code_pb.ts";
import { PreconditionFailureSchema } from "../../../src/proto/gen/google/rpc/error_details_pb.ts";
import { StatusSchema } from "../../../src/proto/gen/google/rpc/status_pb.ts";

const subject = `blobs/${"0".repeat(64)}/123`;

describe("missingBlobs", () => {
  it("names each blob in a PreconditionFailure", () => {
    const encoded = toBinary(StatusSchema, missingBlobs("Input is missing", [subject]));
    const { code, details } = fromBinary(StatusSchema, encoded);
    assert.equal(code, Code.FAILED_PRECONDITION);
    assert.equal(details[0]?.typeUrl, "type.googleapis.com/google.rpc.PreconditionFailure");
    const failure = anyUnpack(details[0], PreconditionFailureSchema);
    assert.deepEqual(
      failure?.violations.map(({ type, subject }) => ({ type, subject })),
      [{ type: "MISSING", subject }],
    );
  });
});

describe("statusFromError", () => {
  it("gives back a StatusError's status", () => {
    const sent = status(Code.NOT_FOUND, "No such blob");
    const error = new StatusError(sent, { cause: "test" });
    assert.equal(statusFromError(error), sent);
    assert.equal(error.cause, "test");
    assert.equal(error.metadata.get("grpc-status-details-bin").length, 0);
  });

  it("reads code and details of a ServiceError, also where the trailer is not a Status", () => {
    const metadata = new Metadata();
    metadata.set("grpc-status-details-bin", Buffer.from([0xff]));
    for (const trailer of [new Metadata(), metadata]) {
      const error = Object.assign(new Error("5 NOT_FOUND: gone"), {
        code: 5,
        details: "gone",
        metadata: trailer,
      });
      assert.deepEqual(statusFromError(error), status(Code.NOT_FOUND, "gone"));
    }
  });

  it("takes an AbortError for CANCELLED and anything else for UNKNOWN", () => {
    assert.equal(statusFromError(AbortSignal.abort().reason).code, Code.CANCELLED);
    assert.deepEqual(statusFromError("text"), status(Code.UNKNOWN, "text"));
    assert.deepEqual(statusFromError(new Error("why")), status(Code.UNKNOWN, "why"));
    const system = Object.assign(new Error("open"), { code: "ENOENT" });
    assert.deepEqual(statusFromError(system), status(Code.UNKNOWN, "open"));
  });
});
