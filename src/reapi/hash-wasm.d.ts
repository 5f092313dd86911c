/** Only this function's file of the package: the one with all functions takes a thread 6 MB more. */
declare module "hash-wasm/dist/blake3.umd.min.js" {
  const functions: Pick<typeof import("hash-wasm"), "createBLAKE3">;
  export default functions;
}
