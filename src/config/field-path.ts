import { ConfigurationError } from "./error.ts";

/** A field that is accepted though it has no effect here, as it tunes what is done in another way. */
export interface DoneOtherwise {
  readonly field: string;
  /** What is done instead. */
  readonly instead: string;
}

/**
 * Where in a configuration a message or field stands, as text: `buildDirectories[0].runners[1]`. All paths below one
 * root share what is found out about the configuration, so that it is reported together.
 */
export class FieldPath {
  readonly #text: string;
  readonly #findings: Findings;

  private constructor(text: string, findings: Findings) {
    this.#text = text;
    this.#findings = findings;
  }

  /** The path of a configuration that has not been looked at. `text` is where it stands in a larger one. */
  static root(text = ""): FieldPath {
    return new FieldPath(text, { otherwise: new Map(), refused: new Set() });
  }

  field(name: string): FieldPath {
    return this.#beside(this.#text === "" ? name : `${this.#text}.${name}`);
  }

  index(index: number): FieldPath {
    return this.#beside(`${this.#text}[${index}]`);
  }

  key(key: string): FieldPath {
    return this.#beside(`${this.#text}[${JSON.stringify(key)}]`);
  }

  /** The fields that have no effect, each once. */
  get doneOtherwise(): readonly DoneOtherwise[] {
    return [...this.#findings.otherwise].map(([field, instead]) => ({ field, instead }));
  }

  /** Records that this field has no effect. */
  otherwise(instead: string): void {
    this.#findings.otherwise.set(this.#text, instead);
  }

  /** Records that this field cannot be had, so that {@link settingsOf} fails in the end. */
  refused(reason: string): void {
    this.#findings.refused.add(unsupported(this, reason).message);
  }

  /**
   * What `work` makes of the configuration at this path. Throws {@link ConfigurationError} with every problem that was
   * recorded or thrown, if there is any.
   */
  settingsOf<Settings>(work: (path: FieldPath) => Settings): Settings {
    const made = attempt(() => work(this));
    const problems = [...this.#findings.refused, ...("problems" in made ? made.problems : [])];
    if ("problems" in made || problems.length > 0) {
      throw new ConfigurationError(problems);
    }
    return made.value;
  }

  toString(): string {
    return this.#text;
  }

  #beside(text: string): FieldPath {
    return new FieldPath(text, this.#findings);
  }
}

interface Findings {
  /** What is done instead, by field. */
  readonly otherwise: Map<string, string>;
  readonly refused: Set<string>;
}

/** The error for a field that is set and cannot be had here. */
export function unsupported(path: FieldPath | string, reason: string): ConfigurationError {
  return new ConfigurationError(`${path} is not supported: ${reason}`);
}

/**
 * Makes every property, also when others fail. Throws one {@link ConfigurationError} with the problems of all that
 * failed.
 */
export function all<Properties extends object>(
  makers: {
    readonly [Name in keyof Properties]: () => Properties[Name];
  },
): Properties {
  const problems: string[] = [];
  const made = Object.entries<() => unknown>(makers).map(([name, make]) => {
    const result = attempt(make);
    if ("problems" in result) {
      problems.push(...result.problems);
      return [name, undefined];
    }
    return [name, result.value];
  });
  if (problems.length > 0) {
    throw new ConfigurationError(problems);
  }
  return Object.fromEntries(made) as Properties;
}

/** {@link all}, for the items of a list. */
export function each<Item, Made>(
  items: readonly Item[],
  make: (item: Item, index: number) => Made,
): readonly Made[] {
  return Object.values(all<Record<number, Made>>(items.map((item, index) => () => make(item, index))));
}

function attempt<Value>(make: () => Value): { value: Value } | { problems: readonly string[] } {
  try {
    return { value: make() };
  } catch (error) {
    if (error instanceof ConfigurationError) {
      return { problems: error.problems };
    }
    throw error;
  }
}
