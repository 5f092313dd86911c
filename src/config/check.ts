import { ConfigurationError } from "./error.ts";
import { type DoneOtherwise, FieldPath } from "./field-path.ts";

/** What `--check` prints. */
export interface CheckReport {
  readonly usable: boolean;
  /** One for each field that is wrong or not supported. */
  readonly problems: readonly string[];
  readonly doneOtherwise: readonly DoneOtherwise[];
  /** With what was left out filled in, in the program's own units; absent where there are problems. */
  readonly settings?: unknown;
}

/** Says what a program makes of a configuration. Secrets are not repeated. */
export function checkReport(makeSettings: (root: FieldPath) => object): CheckReport {
  const root = FieldPath.root();
  try {
    const settings = plain(makeSettings(root));
    return { usable: true, problems: [], doneOtherwise: root.doneOtherwise, settings };
  } catch (error) {
    if (error instanceof ConfigurationError) {
      return { usable: false, problems: error.problems, doneOtherwise: root.doneOtherwise };
    }
    throw error;
  }
}

/** Settings whose values are secrets; headers may carry tokens. */
const SECRET = /^(?:privateKey|metadata|headers|credentials|clientSecret|cookieSeed|password)$/;

/** As JSON: whole numbers that JavaScript's cannot hold as text, and what cannot be shown as "…". */
function plain(settings: object): unknown {
  return JSON.parse(
    JSON.stringify({ ...settings, doneOtherwise: undefined }, (name, value) => {
      if (typeof value === "bigint") {
        return `${value}`;
      }
      return typeof value === "function" || (SECRET.test(name) && value !== undefined) ? "…" : value;
    }),
  );
}
