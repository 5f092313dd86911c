import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { fromJson, type JsonObject } from "@bufbuild/protobuf";
import { checkReport } from "../../../src/config/check.ts";
import { FieldPath } from "../../../src/config/field-path.ts";
import { httpServerSettings } from "../../../src/config/network/http-server.ts";
import { ConfigurationSchema } from "../../../src/proto/gen/buildbarn/configuration/http/server/server_pb.ts";

const configured = (authenticationPolicy: JsonObject) =>
  fromJson(ConfigurationSchema, { listenAddresses: [":1"], authenticationPolicy });
const policy = (json: JsonObject) =>
  FieldPath.root("server").settingsOf((path) => httpServerSettings(configured(json), path)).authentication;

const oidc = {
  clientId: "id",
  clientSecret: "top secret",
  authorizationEndpointUrl: "https://provider/authorize",
  tokenEndpointUrl: "https://provider/token",
  userInfoEndpointUrl: "https://provider/userinfo",
  metadataExtractionJmespathExpression: { expression: "@" },
  redirectUrl: "https://worker/callback",
  scopes: ["openid"],
  cookieSeed: "c2VlZA==",
};

describe("the policies of an HTTP server", () => {
  it("ask a remote authenticator about headers by Go's names", () => {
    const remote = (header: string) =>
      policy({ remote: { endpoint: { address: "a:1" }, headers: [header] } });
    assert.equal(remote("X-Forwarded-User").kind, "remote");
    assert.throws(() => remote("x-forwarded-USER"), /headers\[0\] is .*: give it as "X-Forwarded-User"/);
    assert.throws(() => remote("a b"), /headers\[0\] is "a b": give a header's name/);
  });

  it("are asked about those who accept media types", () => {
    const acceptHeader = (changes: JsonObject) =>
      policy({ acceptHeader: { mediaTypes: ["text/*"], policy: { deny: "no" }, ...changes } });
    assert.deepEqual(acceptHeader({}), {
      kind: "acceptHeader",
      mediaTypes: ["text/*"],
      policy: { kind: "deny", message: "no" },
    });
    assert.throws(() => acceptHeader({ mediaTypes: ["*/html"] }), /mediaTypes\[0\] is .*: give a media type/);
    assert.throws(() => acceptHeader({ mediaTypes: [] }), /mediaTypes is empty/);
    assert.throws(() => acceptHeader({ policy: null }), /acceptHeader\.policy is missing/);
  });

  it("have people log in, with a cookie that depends on all that is configured", () => {
    const made = policy({ oidc });
    assert.ok(made.kind === "oidc");
    assert.equal(made.userInfoEndpointUrl, "https://provider/userinfo");
    const seeds = [
      { ...oidc, cookieSeed: "b3RoZXI=" },
      { ...oidc, scopes: [] },
    ].map((changed) => {
      const other = policy({ oidc: changed });
      return other.kind === "oidc" && other.cookieSeed;
    });
    assert.equal(new Set([made.cookieSeed, ...seeds]).size, 3);
    assert.equal(Buffer.from(made.cookieSeed, "base64").length, 32);
    const report = JSON.stringify(checkReport((path) => httpServerSettings(configured({ oidc }), path)));
    assert.ok(report.includes("https://provider/token"));
    assert.ok(!report.includes("top secret") && !report.includes(made.cookieSeed));
    for (const [field, value] of [
      ["cookieSeed", ""],
      ["userInfoEndpointUrl", undefined],
      ["redirectUrl", "/callback"],
      ["authorizationEndpointUrl", "javascript:x"],
      ["tokenEndpointUrl", ""],
    ] as const) {
      const { [field]: _before, ...others } = oidc;
      const changed: JsonObject = value === undefined ? others : { ...others, [field]: value };
      assert.throws(() => policy({ oidc: changed }), new RegExp(`oidc\\.${field} is `));
    }
  });
});
