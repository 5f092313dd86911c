/** Text that is HTML already. Made by {@link html} only. */
export class Html {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

/** What can stand in a template: text is escaped, absent values are nothing, and lists are put together. */
export type HtmlValue = Html | string | number | undefined | false | readonly HtmlValue[];

/** HTML in which every value is text, whatever it contains, unless it is {@link Html} itself. Attributes want quotes. */
export function html(template: TemplateStringsArray, ...values: readonly HtmlValue[]): Html {
  return new Html(template.reduce((before, after, index) => `${before}${textOf(values[index - 1])}${after}`));
}

function textOf(value: HtmlValue): string {
  if (value === undefined || value === false) {
    return "";
  }
  if (value instanceof Html) {
    return value.text;
  }
  return typeof value === "object" ? value.map(textOf).join("") : escaped(String(value));
}

const ENTITIES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

/** Characters that could change how what follows them looks, such as those that turn the direction, are shown as U+FFFD. */
function escaped(text: string): string {
  return text
    .replaceAll(/[&<>"']/g, (character) => ENTITIES[character]!)
    .replaceAll(/[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}]/gu, "\ufffd");
}
