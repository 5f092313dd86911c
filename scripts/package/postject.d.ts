declare module "postject" {
  /** Writes a section into an executable, which must not run meanwhile. */
  export function inject(
    executable: string,
    name: string,
    content: Buffer,
    options: { readonly sentinelFuse: string },
  ): Promise<void>;
}
