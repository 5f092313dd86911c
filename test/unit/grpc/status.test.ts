import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Metadata } from "@grpc/grpc-js";
import { CodedError } from "../../../src/grpc/coded-error.ts";
import { StatusError, status, statusFromError, toStatusError } from "../../../src/grpc/status.ts";
import { Code } from "../../../src/proto/gen/google/rpc/code_pb.ts";

class Refusal extends CodedError {
  readonly code = Code.PERMISSION_DENIED;
}

describe("statusFromError", () => {
  it("gives back a StatusError's status", () => {
    const sent = status(Code.NOT_FOUND, "No such blob");
    const error = new StatusError(sent, { cause: "test" });
    assert.equal(statusFromError(error), sent);
    assert.equal(error.cause, "test");
    assert.equal(error.metadata.get("grpc-status-details-bin").length, 0);
  });

  it("takes code and message of a CodedError", () => {
    assert.deepEqual(statusFromError(new Refusal("no")), status(Code.PERMISSION_DENIED, "no"));
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

describe("toStatusError", () => {
  it("leaves a StatusError as it is, and keeps anything else as the cause", () => {
    const error = new StatusError(status(Code.NOT_FOUND, "gone"));
    assert.equal(toStatusError(error), error);
    const refusal = new Refusal("no");
    assert.equal(toStatusError(refusal).code, Code.PERMISSION_DENIED);
    assert.equal(toStatusError(refusal).cause, refusal);
  });
});
