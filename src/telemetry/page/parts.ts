import { type Html, type HtmlValue, html } from "./html.ts";

/** Columns of a table by their headings. */
export interface Column<Row> {
  readonly heading: string;
  /** Numbers stand at the right. */
  readonly isNumber?: boolean;
  cell(row: Row): HtmlValue;
}

/**
 * A table, or `nothing` if it has no rows. The first column names the row. On a narrow screen rows are shown as blocks,
 * which would cost them their roles were they not named.
 */
export function table<Row>(
  caption: string,
  columns: readonly Column<Row>[],
  rows: readonly Row[],
  nothing: string,
): Html {
  if (rows.length === 0) {
    return html`<p>${nothing}</p>`;
  }
  const classOf = ({ isNumber }: Column<Row>) => (isNumber ? "number" : "text");
  const cell = (column: Column<Row>, row: Row, index: number) =>
    index === 0
      ? html`<th scope="row" role="rowheader" data-heading="${column.heading}">${column.cell(row)}</th>`
      : html`<td role="cell" class="${classOf(column)}" data-heading="${column.heading}">${column.cell(row)}</td>`;
  return html`<table role="table"><caption>${caption}</caption><thead role="rowgroup"><tr role="row">${columns.map(
    (column) => html`<th scope="col" role="columnheader" class="${classOf(column)}">${column.heading}</th>`,
  )}</tr></thead><tbody role="rowgroup">${rows.map(
    (row) => html`<tr role="row">${columns.map((column, index) => cell(column, row, index))}</tr>`,
  )}</tbody></table>`;
}

/** Names and values. */
export function facts(entries: readonly (readonly [name: string, value: HtmlValue])[]): Html {
  return html`<dl>${entries.map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>`;
}

/** A part of a bar, and what is a part of it. */
export interface Segment {
  /** One of the style sheet's colours. */
  readonly kind: "queued" | "input" | "run" | "storage" | "upload";
  readonly value: number;
  readonly within?: readonly Segment[];
}

const WIDTH = 1000;
const ROW = 14;

/** Segments beside each other, and below each what is a part of it. `label` says in words what it shows. */
export function bar(segments: readonly Segment[], label: string): Html {
  const total = segments.reduce((sum, { value }) => sum + value, 0);
  const scale = total > 0 ? WIDTH / total : 0;
  const rectangles: Html[] = [];
  const draw = (row: readonly Segment[], from: number, depth: number): void => {
    let x = from;
    for (const { kind, value, within } of row) {
      const width = (value * scale).toFixed(1);
      rectangles.push(
        html`<rect class="${kind}" x="${x.toFixed(1)}" y="${depth * ROW}" width="${width}" height="${ROW - 1}"/>`,
      );
      draw(within ?? [], x, depth + 1);
      x += value * scale;
    }
  };
  draw(segments, 0, 0);
  return html`<svg class="bar" role="img" aria-label="${label}" viewBox="0 0 ${WIDTH} ${2 * ROW}" preserveAspectRatio="none">${rectangles}</svg>`;
}

/** Whether something is well, in words and by a sign, not by colour alone. */
export function health(problem: string | undefined, well = "well"): Html {
  return problem === undefined
    ? html`<span class="well">&check; ${well}</span>`
    : html`<span class="ill">&cross; ${problem}</span>`;
}
