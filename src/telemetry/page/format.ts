const BYTE_UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

/** Such as "350 µs", "12 ms", "1.5 s" or "3 min 20 s". */
export function duration(milliseconds: number): string {
  if (milliseconds < 1) {
    return `${Math.round(milliseconds * 1000)} µs`;
  }
  if (milliseconds < 1000) {
    return `${milliseconds < 10 ? milliseconds.toFixed(1) : Math.round(milliseconds)} ms`;
  }
  if (milliseconds < 60_000) {
    return `${(milliseconds / 1000).toFixed(1)} s`;
  }
  const seconds = Math.floor(milliseconds / 1000);
  const minutes = Math.floor(seconds / 60);
  return minutes < 60
    ? `${minutes} min ${seconds % 60} s`
    : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** Such as "12 B" or "3.4 MiB". */
export function bytes(count: number): string {
  let value = count;
  let unit = 0;
  while (value >= 1024 && unit < BYTE_UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${BYTE_UNITS[unit]}`;
}

/** Such as "1,234,567". */
export function count(value: number): string {
  return Math.round(value).toLocaleString("en-US");
}

/** At most so many characters, with "…" where some are left out in the middle. */
export function shortened(text: string, maximumCharacters: number): string {
  const characters = [...text];
  if (characters.length <= maximumCharacters) {
    return text;
  }
  const half = Math.floor((maximumCharacters - 1) / 2);
  return `${characters.slice(0, maximumCharacters - 1 - half).join("")}…${characters.slice(-half).join("")}`;
}
