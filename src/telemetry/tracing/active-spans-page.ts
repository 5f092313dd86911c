import type { Page } from "../diagnostics-server.ts";
import type { ActiveSpan, ActiveSpans } from "./active-spans.ts";

const STYLE = `:root { color-scheme: light dark; font: 1rem/1.4 system-ui, sans-serif }
body { max-width: 60rem; margin: auto; padding: 1rem }
ul { list-style: none; padding-left: 1.2rem; border-left: 2px solid #8884 }
time { opacity: .7 }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0 1rem; margin: 0; font-size: .85rem }
dd { margin: 0; overflow-wrap: anywhere }`;

/** A page with the spans that have not ended, each below the one that it is a part of. */
export function activeSpansPage(spans: ActiveSpans): Page {
  return (_request, response) => {
    response.writeHead(200, { "content-type": "text/html; charset=utf-8" });
    response.end(
      `<!DOCTYPE html>\n<html lang="en"><meta charset="utf-8">` +
        `<meta name="viewport" content="width=device-width"><title>Active spans</title>` +
        `<style>${STYLE}</style><h1>Active spans</h1>${list(spans.roots, Date.now()) || "<p>None.</p>"}</html>\n`,
    );
  };
}

function list(spans: ReadonlySet<ActiveSpan>, now: number): string {
  return spans.size === 0 ? "" : `<ul>${Array.from(spans, (span) => item(span, now)).join("")}</ul>`;
}

function item({ name, startedAt, attributes, children }: ActiveSpan, now: number): string {
  const since = new Date(startedAt).toISOString();
  const seconds = ((now - startedAt) / 1000).toFixed(3);
  const rows = Object.entries(attributes).map(
    ([key, value]) => `<dt>${escaped(key)}</dt><dd>${escaped(String(value))}</dd>`,
  );
  return (
    `<li><strong>${escaped(name)}</strong> <time datetime="${since}">${seconds} s</time>` +
    `<dl>${rows.join("")}</dl>${list(children, now)}</li>`
  );
}

const ENTITIES: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };

function escaped(text: string): string {
  return text.replaceAll(/[&<>"]/g, (character) => ENTITIES[character]!);
}
