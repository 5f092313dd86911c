/** A configuration that cannot be used. The message names file and field, and what to do. */
export class ConfigurationError extends Error {
  override readonly name = "ConfigurationError";
}
