import assert from "node:assert/strict";
import { it } from "node:test";
import fc from "fast-check";
import { shortened } from "../../../../src/telemetry/page/format.ts";
import { html } from "../../../../src/telemetry/page/html.ts";
import { bar, table } from "../../../../src/telemetry/page/parts.ts";

const SPECIAL = fc.constantFrom("<", ">", "&", '"', "'", "/", "x", "\u202e");

it("text stays text, whatever it contains, also in an attribute", () => {
  fc.assert(
    fc.property(fc.oneof(fc.string({ unit: "binary" }), fc.string({ unit: SPECIAL })), (text) => {
      const page = html`<p title="${text}">${text}</p>`.text;
      const [, attribute, content] = /^<p title="([^"<>']*)">([^"<>']*)<\/p>$/s.exec(page) ?? [];
      assert.ok(attribute !== undefined && content === attribute, page);
      assert.doesNotMatch(content.replaceAll(/&(?:amp|lt|gt|quot|#39);/g, ""), /&/);
    }),
  );
});

it("what would turn the direction of text, or hide, is shown as such", () => {
  assert.equal(html`${"evil\u202egnp.exe\0\n"}`.text, "evil\ufffdgnp.exe\ufffd\ufffd");
  assert.equal(html`${"žluťoučký 日本語"}`.text, "žluťoučký 日本語");
});

it("a template has lists, nested HTML, and nothing for what is absent", () => {
  const parts = ["<a>", 2, undefined, false, html`<b>${"&"}</b>`] as const;
  assert.equal(html`${parts}`.text, "&lt;a&gt;2<b>&amp;</b>");
});

it("a table names each cell's column, and the texts in it are text", () => {
  const { text } = table("Things", [{ heading: "<name>", cell: (row: string) => row }], ["<script>"], "none");
  assert.match(text, /<th scope="row" role="rowheader" data-heading="&lt;name&gt;">&lt;script&gt;<\/th>/);
  assert.equal(table("Things", [], [], "<none>").text, "<p>&lt;none&gt;</p>");
});

it("a bar's parts fill it, and what is a part of one lies below that one", () => {
  const { text } = bar(
    [
      { kind: "queued", value: 1 },
      { kind: "run", value: 3, within: [{ kind: "storage", value: 2 }] },
    ],
    "label",
  );
  const rectangles = [...text.matchAll(/class="(\w+)" x="([\d.]+)" y="(\d+)" width="([\d.]+)"/g)];
  assert.deepEqual(
    rectangles.map(([, kind, x, y, width]) => [kind, Number(x), y === "0", Number(width)]),
    [
      ["queued", 0, true, 250],
      ["run", 250, true, 750],
      ["storage", 250, false, 500],
    ],
  );
  assert.doesNotMatch(bar([{ kind: "run", value: 0 }], "empty").text, /NaN|Infinity/);
});

it("a long text is shortened in the middle, by characters", () => {
  assert.equal(shortened("short", 5), "short");
  assert.equal(shortened("0123456789", 5), "01…89");
  assert.equal([...shortened("😀".repeat(100), 9)].length, 9);
});
