/** The page's style. Colours keep a contrast of 4.5 to 1 for text and of 3 to 1 for bars, in light and dark. */
export const STYLE = `:root {
  color-scheme: light dark;
  --back: light-dark(#fff, #16181c); --card: light-dark(#f4f5f7, #1f2329); --text: light-dark(#1b1f24, #e6e8eb);
  --faint: light-dark(#4d5661, #a9b1bc); --line: light-dark(#d0d5db, #3a414b); --link: light-dark(#0a58a8, #7db7ff);
  --well: light-dark(#146c2e, #6fd08c); --ill: light-dark(#b3161b, #ff8f8f);
  --queued: light-dark(#7a828c, #8f98a3); --input: light-dark(#0a6ebd, #4fa3ee); --run: light-dark(#1b7f3b, #46b56b);
  --storage: light-dark(#b35900, #f0a040); --upload: light-dark(#7b3fb5, #b58be0);
  font: 1rem/1.45 system-ui, sans-serif;
}
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 80rem; padding: 1rem; background: var(--back); color: var(--text) }
header { display: flex; flex-wrap: wrap; gap: .25rem 1rem; align-items: baseline }
h1 { font-size: 1.5rem; margin: 0 }
h2 { font-size: 1.15rem; margin: 0 0 .5rem }
a { color: var(--link) }
header p, footer { color: var(--faint); margin: 0 }
section { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .75rem 1rem; margin: 1rem 0 }
section p { margin: .25rem 0 }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
caption { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%) }
th, td { text-align: left; vertical-align: top; padding: .3rem .6rem .3rem 0; overflow-wrap: anywhere }
thead th { color: var(--faint); font-weight: 600; font-size: .85rem; overflow-wrap: normal }
tbody tr { border-top: 1px solid var(--line) }
tbody th { font-weight: 600; min-width: 9rem }
time { white-space: nowrap }
.number { text-align: right; white-space: nowrap }
code { font-family: ui-monospace, monospace; font-size: .85em }
small { color: var(--faint); display: block }
ul { margin: 0; padding: 0; list-style: none }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(14rem, 1fr)); gap: .5rem 1rem; margin: 0 }
dt { color: var(--faint); font-size: .85rem }
dd { margin: 0; overflow-wrap: anywhere }
.well { color: var(--well) }
.ill { color: var(--ill) }
.bar { display: block; width: 100%; min-width: 8rem; height: 28px }
.queued { fill: var(--queued) } .input { fill: var(--input) } .run { fill: var(--run) }
.storage { fill: var(--storage) } .upload { fill: var(--upload) }
.legend { display: flex; flex-wrap: wrap; gap: .25rem 1rem; margin: .25rem 0 .5rem; color: var(--faint) }
.legend svg { width: .8rem; height: .8rem; margin-right: .35rem }
@media (max-width: 45rem) {
  table, tbody, tr, th, td { display: block; width: 100% }
  thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%) }
  tbody tr { padding: .5rem 0 }
  th, td, .number { padding: .1rem 0; text-align: left; white-space: normal }
  td[data-heading]::before { content: attr(data-heading) ": "; color: var(--faint); font-size: .85rem }
}
`;

/** Puts what the server sends in the place of what is there. Without it, the page reloads itself. */
export const SCRIPT = `"use strict";
const state = document.getElementById("state");
const events = new EventSource("events");
events.addEventListener("section", ({ data }) => {
  const { id, content } = JSON.parse(data);
  const section = document.getElementById(id);
  if (section) {
    section.innerHTML = content;
  }
});
events.addEventListener("open", () => { state.textContent = "live"; });
events.addEventListener("error", () => { state.textContent = "no connection; trying again"; });
`;
