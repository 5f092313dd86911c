declare const VERSION: string;

/** In the bundles instead of src/config/version.ts. */
export function version(): string {
  return VERSION;
}
