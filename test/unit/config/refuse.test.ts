import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { refuse } from "../../../src/config/refuse.ts";
import { FileConfigurationSchema } from "../../../src/proto/gen/buildbarn/configuration/blockdevice/blockdevice_pb.ts";
import {
  type ClientConfiguration,
  ClientConfigurationSchema,
} from "../../../src/proto/gen/buildbarn/configuration/grpc/grpc_pb.ts";

type Left = Omit<ClientConfiguration, "address" | "tls" | "keepalive" | "addMetadata" | "oauth2" | "tracing">;

const REASONS = {
  addMetadataJmespathExpression: "a",
  initialWindowSizeBytes: "b",
  initialConnWindowSizeBytes: "c",
  proxyUrl: "d",
  defaultServiceConfig: "e",
};

function leftOf(
  init: Exclude<MessageInitShape<typeof ClientConfigurationSchema>, { $typeName: string }>,
): Left {
  const { address, tls, keepalive, addMetadata, oauth2, tracing, ...rest } = create(
    ClientConfigurationSchema,
    init,
  );
  assert.deepEqual([address, tls, keepalive, addMetadata, oauth2, tracing].length, 6);
  return rest;
}

describe("refuse", () => {
  it("lets pass what is not set", () => {
    refuse(leftOf({}), "client", REASONS);
    refuse(leftOf({ proxyUrl: "", initialConnWindowSizeBytes: 0 }), "client", REASONS);
  });

  it("names the field that is set, also to an empty message", () => {
    const refused = (init: Parameters<typeof leftOf>[0]) => () => refuse(leftOf(init), "client", REASONS);
    assert.throws(refused({ proxyUrl: "x" }), /^ConfigurationError: client\.proxyUrl is not supported: d$/);
    assert.throws(refused({ initialConnWindowSizeBytes: -1 }), /client\.initialConnWindowSizeBytes is not/);
    assert.throws(refused({ addMetadataJmespathExpression: {} }), /client\.addMetadataJmespathExpression is/);
    assert.throws(
      () => refuse(leftOf({ proxyUrl: "x" }), "", REASONS),
      /Error: proxyUrl is not supported: d$/,
    );
  });

  it("does not compile without a decision about every field", () => {
    const { path, ...rest } = create(FileConfigurationSchema, {});
    assert.equal(path, "");
    // @ts-expect-error sizeBytes is neither taken out nor refused.
    refuse(rest, "file");
    refuse(rest, "file", {
      sizeBytes: "any size will do",
      // @ts-expect-error It was taken out.
      path: "any path will do",
    });
  });
});
