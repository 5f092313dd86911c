/** The families of an exposition in Prometheus' text format whose names are wanted, as they are there. */
export function familiesNamed(text: string, isWanted: (name: string) => boolean): string {
  let family = "";
  let wanted = false;
  const lines: string[] = [];
  for (const line of text.split("\n")) {
    const [, described] = /^#\s+(?:HELP|TYPE|UNIT)\s+(\S+)/.exec(line) ?? [];
    const [, sample] = /^([a-zA-Z_:][\w:]*)/.exec(line) ?? [];
    const name = described ?? (sample !== undefined && belongsTo(sample, family) ? family : sample);
    if (name !== undefined) {
      if (name !== family) {
        family = name;
        wanted = isWanted(name);
      }
      if (wanted) {
        lines.push(`${line}\n`);
      }
    }
  }
  return lines.join("");
}

/** Whether a sample is the family's: those of histograms and summaries have longer names. */
function belongsTo(sample: string, family: string): boolean {
  return (
    sample === family || ["_bucket", "_sum", "_count", "_total"].some((end) => sample === `${family}${end}`)
  );
}
