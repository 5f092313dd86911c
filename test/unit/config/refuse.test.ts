import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { ConfigurationError } from "../../../src/config/error.ts";
import { all, each, FieldPath } from "../../../src/config/field-path.ts";
import { accept, refuse } from "../../../src/config/refuse.ts";
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

const REFUSED = FieldPath.root("client");

describe("refuse", () => {
  const refused = (init: Parameters<typeof leftOf>[0], root = "client") =>
    FieldPath.root(root).settingsOf((path) => refuse(leftOf(init), path, REASONS));

  it("lets pass what is not set", () => {
    refused({});
    refused({ proxyUrl: "", initialConnWindowSizeBytes: 0 });
  });

  it("names the field that is set, also to an empty message", () => {
    assert.throws(
      () => refused({ proxyUrl: "x" }),
      /^ConfigurationError: client\.proxyUrl is not supported: d$/,
    );
    assert.throws(
      () => refused({ initialConnWindowSizeBytes: -1 }),
      /client\.initialConnWindowSizeBytes is not/,
    );
    assert.throws(
      () => refused({ addMetadataJmespathExpression: {} }),
      /client\.addMetadataJmespathExpression is/,
    );
    assert.throws(() => refused({ proxyUrl: "x" }, ""), /Error: proxyUrl is not supported: d$/);
  });

  it("names all fields that are set, after what else is wrong", () => {
    assert.throws(
      () =>
        FieldPath.root("a").settingsOf((path) =>
          all({
            first: () => refuse(leftOf({ proxyUrl: "x", initialWindowSizeBytes: 1 }), path, REASONS),
            second: () =>
              each(["b", "c"], (name) => {
                throw new ConfigurationError(`${path.field(name)} is wrong`);
              }),
            third: () => 1,
          }),
        ),
      (error) =>
        error instanceof ConfigurationError &&
        assert.deepEqual(error.problems, [
          "a.initialWindowSizeBytes is not supported: b",
          "a.proxyUrl is not supported: d",
          "a.b is wrong",
          "a.c is wrong",
        ]) === undefined,
    );
  });

  it("does not compile without a decision about every field", () => {
    const { path, ...rest } = create(FileConfigurationSchema, {});
    assert.equal(path, "");
    // @ts-expect-error sizeBytes is neither taken out nor refused.
    refuse(rest, REFUSED);
    refuse(rest, REFUSED, {
      sizeBytes: "any size will do",
      // @ts-expect-error It was taken out.
      path: "any path will do",
    });
  });
});

describe("accept", () => {
  it("records what is set, once, and leaves the rest to refuse", () => {
    const path = FieldPath.root("client");
    const { initialWindowSizeBytes, ...reasons } = REASONS;
    const others = () =>
      accept(leftOf({ initialWindowSizeBytes: 5, proxyUrl: "x" }), path, {
        initialWindowSizeBytes,
      });
    others();
    assert.throws(
      () => path.settingsOf(() => refuse(others(), path, reasons)),
      /Error: client\.proxyUrl is not supported: d$/,
    );
    assert.deepEqual(path.doneOtherwise, [{ field: "client.initialWindowSizeBytes", instead: "b" }]);
  });

  it("does not record what is not set", () => {
    const path = FieldPath.root();
    accept(leftOf({}), path, { initialWindowSizeBytes: "a" });
    assert.deepEqual(path.doneOtherwise, []);
  });

  it("does not compile for a field that was taken out, nor for a second decision", () => {
    const { sizeBytes, ...rest } = create(FileConfigurationSchema, {});
    assert.equal(sizeBytes, 0n);
    // @ts-expect-error It was taken out.
    accept(rest, REFUSED, { sizeBytes: "any size will do" });
    // @ts-expect-error It was accepted.
    refuse(accept(rest, REFUSED, { path: "any path will do" }), REFUSED, { path: "no path will do" });
  });
});
