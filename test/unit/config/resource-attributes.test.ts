import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { fromJson, type JsonObject, type JsonValue } from "@bufbuild/protobuf";
import { FieldPath } from "../../../src/config/field-path.ts";
import { tracingSettings } from "../../../src/config/global/tracing.ts";
import { TracingConfigurationSchema } from "../../../src/proto/gen/buildbarn/configuration/global/global_pb.ts";

/** What is made of attributes, by name. */
function attributes(values: Record<string, JsonObject>) {
  const json: JsonValue = {
    resourceAttributes: Object.entries(values).map(([key, value]) => ({ key, value })),
    sampler: { always: {} },
  };
  return FieldPath.root("tracing").settingsOf((path) =>
    tracingSettings(fromJson(TracingConfigurationSchema, json), path),
  ).resourceAttributes;
}

const list = (...values: JsonObject[]) => ({ arrayValue: { values } });

describe("resource attributes", () => {
  it("are scalars and lists of one kind; an empty list is none", () => {
    assert.deepEqual(
      attributes({
        text: { stringValue: "worker" },
        flag: { boolValue: false },
        count: { intValue: "-9007199254740991" },
        share: { doubleValue: 0.5 },
        texts: list({ stringValue: "a" }, { stringValue: "" }),
        flags: list({ boolValue: true }),
        counts: list({ intValue: "1" }, { intValue: "2" }),
        shares: list({ doubleValue: 1 }, { doubleValue: 2.5 }),
        nothing: list(),
      }),
      {
        text: "worker",
        flag: false,
        count: -9007199254740991,
        share: 0.5,
        texts: ["a", ""],
        flags: [true],
        counts: [1, 2],
        shares: [1, 2.5],
      },
    );
  });

  for (const [value, path, reason] of [
    [{ kvlistValue: { values: [] } }, "kvlistValue", "no maps; give an attribute for each value"],
    [{ bytesValue: "AA==" }, "bytesValue", "no bytes; give a stringValue"],
    [list({ arrayValue: {} }), "arrayValue.values[0].arrayValue", "no lists in lists"],
    [list({ kvlistValue: {} }), "arrayValue.values[0].kvlistValue", "no maps"],
    [list({ bytesValue: "" }), "arrayValue.values[0].bytesValue", "no bytes"],
    [list({ intValue: "1" }, { doubleValue: 1 }), "arrayValue.values", "several kinds"],
    [list({}), "arrayValue.values[0]", "is missing"],
    [{}, "", "is missing"],
    [{ intValue: "9007199254740993" }, "intValue", "up to 2^53 - 1; give a stringValue"],
  ] as [JsonObject, string, string][]) {
    it(`refuse ${JSON.stringify(value)} with the path and the reason`, () => {
      assert.throws(
        () => attributes({ key: value }),
        ({ message }: Error) =>
          message.startsWith(`tracing.resourceAttributes[0].value${path === "" ? "" : `.${path}`}`) &&
          message.includes(reason),
      );
    });
  }
});
