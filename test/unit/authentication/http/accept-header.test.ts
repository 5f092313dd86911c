import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { requireAccepted } from "../../../../src/authentication/http/accept-header.ts";
import { serveDiagnostics } from "../../../../src/telemetry/diagnostics-server.ts";

const MEDIA_TYPES = ["text/html", "font/*"];
const REFUSAL = {
  name: "AuthenticationError",
  code: 16,
  message: "Client does not accept media types [text/html font/*]",
};

describe("requireAccepted", () => {
  for (const header of [
    "font/otf",
    "text/*",
    "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "*/*",
    "application/xml, Text/HTML ; level=1",
    "text/html;q=0",
  ]) {
    it(`finds one in ${JSON.stringify(header)}`, () => requireAccepted([header], MEDIA_TYPES));
  }

  for (const headers of [
    [],
    [""],
    ["application/xml"],
    ["*/html"],
    ["text"],
    ["text/html/x"],
    ["text/plain", "image/*"],
  ]) {
    it(`finds none in ${JSON.stringify(headers)}`, () =>
      assert.throws(() => requireAccepted(headers, MEDIA_TYPES), REFUSAL));
  }

  it("answers for any header, in a time that grows with its length only", () => {
    fc.assert(
      fc.property(fc.array(fc.string({ unit: "binary" })), (headers) => {
        try {
          requireAccepted(headers, ["x-no/type"]);
        } catch (error) {
          assert.equal((error as Error).name, "AuthenticationError");
        }
      }),
    );
    assert.throws(() => requireAccepted([" ".repeat(16_000), ";/".repeat(8000)], MEDIA_TYPES), REFUSAL);
  });
});

it("a policy of an HTTP server is asked about those who accept its media types", async () => {
  const accepting = (mediaTypes: string[], message: string) =>
    ({ kind: "acceptHeader", mediaTypes, policy: { kind: "deny", message } }) as const;
  await using server = await serveDiagnostics([
    {
      addresses: [{ host: "127.0.0.1", port: 0 }],
      tls: undefined,
      authentication: {
        kind: "any",
        policies: [
          { kind: "acceptHeader", mediaTypes: ["text/html"], policy: { kind: "allow", metadata: {} } },
          accepting(["application/json"], "no machines"),
        ],
      },
    },
  ]);
  const get = async (accept: string) => {
    const answer = await fetch(`http://127.0.0.1:${server.ports[0]}/-/healthy`, { headers: { accept } });
    return [answer.status, (await answer.text()).replace(/.* desc = /, "").trim()];
  };
  assert.deepEqual(await get("text/html"), [200, ""]);
  assert.deepEqual(await get("application/json"), [
    401,
    "Client does not accept media types [text/html], no machines",
  ]);
});
