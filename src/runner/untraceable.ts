import { close, DataType, load, open } from "ffi-rs";

/** From <sys/prctl.h>. */
const PR_SET_DUMPABLE = 4;

const LIBRARY = "libc";

/**
 * Keeps commands of this process's own user, where they see it, from tracing it and from reading its memory and open
 * files. No core is dumped of it any more.
 */
export function forbidTracing(): void {
  // Without a path: what the process itself is linked with.
  open({ library: LIBRARY, path: "" });
  try {
    const result = load({
      library: LIBRARY,
      funcName: "prctl",
      retType: DataType.I32,
      paramsType: [DataType.I32, DataType.U64, DataType.U64, DataType.U64, DataType.U64],
      paramsValue: [PR_SET_DUMPABLE, 0, 0, 0, 0],
    });
    if (result !== 0) {
      throw new Error("prctl(PR_SET_DUMPABLE) failed");
    }
  } finally {
    close(LIBRARY);
  }
}
