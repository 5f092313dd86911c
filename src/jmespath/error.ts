/** An expression that cannot be parsed, or cannot be evaluated for some input. */
export class JmespathError extends Error {
  override readonly name = "JmespathError";
}
