import { median } from "../../median.ts";
import type { Results } from "../measurements.ts";
import { formatRatio, formatSeries, ratio, type Table, tablesOf } from "./tables.ts";

const STYLE = `
:root { color-scheme: light dark; --bar: #3b6ea8; --rule: #8884; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0 2rem; width: 100%; }
th, td { text-align: right; padding: .2rem .6rem; border-bottom: 1px solid var(--rule); vertical-align: top; }
th:first-child { text-align: left; }
caption { text-align: left; font-weight: 600; padding: .3rem .6rem; }
svg { display: block; width: 100%; height: .5rem; }
rect { fill: var(--bar); }
small { opacity: .75; }
.scroll { overflow-x: auto; }
`;

/** A page that needs nothing else: the tables, each value with a bar that is as long as it is large. */
export function htmlReport(results: Results): string {
  const tables = tablesOf(results);
  const sections = results.scenarios.map(
    ({ name, question }) =>
      `<section><h2>${escapeHtml(name)}</h2><p>${escapeHtml(question)}</p>${tables
        .filter(({ scenario }) => scenario === name)
        .map(htmlTable)
        .join("")}</section>`,
  );
  const failures = results.failures.map((failure) => `<li>${escapeHtml(failure)}</li>`).join("");
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Lazy loading over NFSv4, measured</title>
<style>${STYLE}</style>
</head>
<body>
<h1>Lazy loading over NFSv4, measured</h1>
<p>${escapeHtml(results.kernel)}, ${results.processors} processor(s), ${escapeHtml(results.started)}${results.quick ? ", quick" : ""}.
Medians, with the smallest and largest value and the number of runs. Ratios are to the first column.
The longest bar of a row is its largest value.</p>
${failures && `<h2>Failed</h2><ul>${failures}</ul>`}
${sections.join("\n")}
</body>
</html>
`;
}

function htmlTable({ metric, sides, rows }: Table): string {
  const head = sides.map(({ title }) => `<th scope="col">${escapeHtml(title)}</th>`).join("");
  const body = rows.map(({ case: title, cells }) => {
    const largest = Math.max(...cells.map((cell) => (cell ? median(cell.values) : 0)));
    const columns = cells.map((cell, column) => {
      if (cell === undefined) {
        return "<td>–</td>";
      }
      const relation = column > 0 ? ratio(cell, cells[0]) : undefined;
      const width = largest > 0 ? (median(cell.values) / largest) * 100 : 0;
      return `<td>${escapeHtml(formatSeries(cell))}${relation === undefined ? "" : ` <b>${formatRatio(relation)}</b>`}
<small>${cell.values.length}&nbsp;run${cell.values.length === 1 ? "" : "s"}</small>
<svg viewBox="0 0 100 1" preserveAspectRatio="none" aria-hidden="true"><rect width="${width.toFixed(2)}" height="1"/></svg></td>`;
    });
    return `<tr><th scope="row">${escapeHtml(title)}</th>${columns.join("")}</tr>`;
  });
  const caption = metric.unit ? `${metric.name}, ${metric.unit}` : metric.name;
  return `<div class="scroll"><table><caption>${escapeHtml(caption)}</caption><thead><tr><th scope="col">case</th>${head}</tr></thead><tbody>${body.join("")}</tbody></table></div>`;
}

function escapeHtml(text: string): string {
  return text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);
}
