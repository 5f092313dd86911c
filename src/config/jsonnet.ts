import { close, DataType, type JsExternal, load, open, restorePointer, wrapPointer } from "ffi-rs";
import { ConfigurationError } from "./error.ts";

const LIBRARY = "jsonnet";

/**
 * Evaluates Jsonnet to JSON text with Debian's libjsonnet. Imports are relative to the importing file, as `path` says
 * where it is; each of `variables` is available as std.extVar(NAME).
 *
 * Throws {@link ConfigurationError} if evaluation fails (the message has file, line and column) or the library is not
 * installed.
 */
export function evaluateJsonnet(
  path: string,
  text: string,
  variables: Readonly<Record<string, string>>,
): string {
  try {
    open({ library: LIBRARY, path: "libjsonnet.so.0" });
  } catch (error) {
    throw new ConfigurationError(
      "libjsonnet.so.0, which evaluates Jsonnet, cannot be loaded. Install it (apt-get install libjsonnet0), " +
        "or give the configuration as plain JSON",
      { cause: error },
    );
  }
  try {
    return evaluate(path, text, variables);
  } finally {
    close(LIBRARY);
  }
}

function evaluate(path: string, text: string, variables: Readonly<Record<string, string>>): string {
  const machine = load({
    library: LIBRARY,
    funcName: "jsonnet_make",
    retType: DataType.External,
    paramsType: [],
    paramsValue: [],
  });
  try {
    for (const [name, value] of Object.entries(variables)) {
      load({
        library: LIBRARY,
        funcName: "jsonnet_ext_var",
        retType: DataType.Void,
        paramsType: [DataType.External, DataType.String, DataType.String],
        paramsValue: [machine, name, value],
      });
    }
    const failed = Buffer.alloc(4);
    const output = load({
      library: LIBRARY,
      funcName: "jsonnet_evaluate_snippet",
      retType: DataType.External,
      paramsType: [DataType.External, DataType.String, DataType.String, DataType.U8Array],
      paramsValue: [machine, path, text, failed],
    });
    const result = takeString(machine, output);
    if (failed.some((byte) => byte !== 0)) {
      throw new ConfigurationError(result.trimEnd());
    }
    return result;
  } finally {
    load({
      library: LIBRARY,
      funcName: "jsonnet_destroy",
      retType: DataType.Void,
      paramsType: [DataType.External],
      paramsValue: [machine],
    });
  }
}

/** Copies a string that belongs to the virtual machine, and frees it there. */
function takeString(machine: JsExternal, string: JsExternal): string {
  const [text] = restorePointer<DataType.String>({
    retType: [DataType.String],
    paramsValue: wrapPointer([string]),
  });
  load({
    library: LIBRARY,
    funcName: "jsonnet_realloc",
    retType: DataType.Void,
    paramsType: [DataType.External, DataType.External, DataType.U64],
    paramsValue: [machine, string, 0],
  });
  return text ?? "";
}
