import type { ServerResponse } from "node:http";
import type { Page, Pages } from "../diagnostics-server.ts";
import { SCRIPT, STYLE } from "./assets.ts";
import { type Html, html } from "./html.ts";

/** A part of the page that changes by itself. */
export interface Section {
  /** An HTML id. */
  readonly id: string;
  readonly title: string;
  content(): Html;
}

/** What a program shows of itself to people. */
export interface StatusPage {
  /** Such as "bb_worker". */
  readonly program: string;
  readonly sections: readonly Section[];
}

export interface StatusPageOptions {
  /** How often browsers are told what has changed. Default 1000. */
  readonly intervalMilliseconds?: number;
  /** More of them that want to be told are refused. Default 16. */
  readonly maximumListeners?: number;
}

/** Without JavaScript, how often the page is loaded again. */
const RELOAD_SECONDS = 5;

/** Nothing but this page's own style and script, from this server; so what slipped through as HTML could not act. */
const HEADERS = {
  "content-security-policy":
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; " +
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "cache-control": "no-store",
};

/**
 * The page at `/`, with what belongs to it. It is complete without JavaScript, and then reloads itself; with JavaScript, it
 * is told by server-sent events what has changed. `/?still` does neither.
 */
export function statusPages(
  page: StatusPage,
  others: readonly string[],
  options: StatusPageOptions = {},
): Pages {
  const listeners = new Listeners(page, options);
  return {
    "/": (_request, response, query) => {
      // Before the status: what cannot be read is answered with 500.
      const { text } = documentOf(page, others, query.has("still"));
      response.writeHead(200, { ...HEADERS, "content-type": "text/html; charset=utf-8" });
      response.end(text);
    },
    "/events": ({ method }, response) => (method === "HEAD" ? void response.end() : listeners.add(response)),
    "/page.css": asset("text/css", STYLE),
    "/page.js": asset("text/javascript", SCRIPT),
  };
}

function asset(type: string, text: string): Page {
  return (_request, response) => {
    response.writeHead(200, { ...HEADERS, "content-type": `${type}; charset=utf-8` });
    response.end(text);
  };
}

function documentOf({ program, sections }: StatusPage, others: readonly string[], still: boolean): Html {
  const updates = html`<script src="page.js" defer></script><noscript><meta http-equiv="refresh" content="${RELOAD_SECONDS}"></noscript>`;
  return html`<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>${program}</title><link rel="icon" href="data:,"><link rel="stylesheet" href="page.css">${!still && updates}</head>
<body><header><h1>${program}</h1><p><span id="state">as of ${new Date().toISOString()}</span>, <a href="${
    still ? "./" : "?still"
  }">${still ? "go on" : "stand still"}</a></p></header>
<main>${sections.map(
    ({ id, title, content }) =>
      html`<section aria-labelledby="${id}-title"><h2 id="${id}-title">${title}</h2><div id="${id}">${content()}</div></section>
`,
  )}</main>
<footer>See also: ${others.map((path, index) => [index > 0 && ", ", html`<a href="${path}">${path}</a>`])}</footer></body></html>
`;
}

/** Browsers that are told what changes. While there are none, nothing is done. */
class Listeners {
  readonly #page: StatusPage;
  readonly #interval: number;
  readonly #maximum: number;
  /** What each has been told last, by section. */
  readonly #told = new Map<ServerResponse, Map<string, string>>();
  #timer: NodeJS.Timeout | undefined;

  constructor(page: StatusPage, { intervalMilliseconds = 1000, maximumListeners = 16 }: StatusPageOptions) {
    this.#page = page;
    this.#interval = intervalMilliseconds;
    this.#maximum = maximumListeners;
  }

  add(response: ServerResponse): void {
    if (this.#told.size >= this.#maximum) {
      response.writeHead(503, { "content-type": "text/plain; charset=utf-8", "retry-after": "10" });
      response.end("too many browsers show this page\n");
      return;
    }
    response.writeHead(200, { ...HEADERS, "content-type": "text/event-stream" });
    response.on("close", () => this.#remove(response));
    this.#told.set(response, new Map());
    this.#timer ??= setInterval(() => this.#tell(this.#told.keys()), this.#interval).unref();
    this.#tell([response]);
  }

  #remove(response: ServerResponse): void {
    this.#told.delete(response);
    if (this.#told.size === 0) {
      clearInterval(this.#timer);
      this.#timer = undefined;
    }
  }

  /** Who has not received the last yet is told the next time. */
  #tell(responses: Iterable<ServerResponse>): void {
    let contents: (readonly [id: string, content: string])[];
    try {
      contents = this.#page.sections.map(({ id, content }) => [id, content().text] as const);
    } catch {
      // Who loads the page is told why.
      for (const response of responses) {
        response.destroy();
      }
      return;
    }
    for (const response of responses) {
      if (response.writableNeedDrain) {
        continue;
      }
      const told = this.#told.get(response)!;
      for (const [id, content] of contents.filter(([id, content]) => told.get(id) !== content)) {
        told.set(id, content);
        response.write(`event: section\ndata: ${JSON.stringify({ id, content })}\n\n`);
      }
    }
  }
}
