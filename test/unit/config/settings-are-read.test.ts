import assert from "node:assert/strict";
import { join, relative } from "node:path";
import { it } from "node:test";
import ts from "typescript";

const root = join(import.meta.dirname, "../../..");
const configuration = join(root, "src/config/");
/** Where else the types of what src/config makes are declared. */
const MADE_BY_CONFIGURATION = [
  "src/cas/backend.ts",
  "src/cas/blob-server.ts",
  "src/grpc/call-headers.ts",
  "src/grpc/endpoint.ts",
  "src/grpc/server.ts",
  "src/grpc/calls/tracing.ts",
  "src/grpc/kubernetes/resolver.ts",
  "src/grpc/services/relay.ts",
  "src/authentication/settings.ts",
  "src/authentication/http/settings.ts",
  "src/http/settings.ts",
  "src/http/tls.ts",
  "src/jmespath/expression.ts",
  "src/telemetry/diagnostics.ts",
  "src/telemetry/diagnostics-server.ts",
  "src/telemetry/telemetry.ts",
  "src/telemetry/tracing/settings.ts",
].map((file) => join(root, file));

/** All sources, as the compiler checks them. */
function program(): ts.Program {
  const { config } = ts.readConfigFile(join(root, "tsconfig.json"), ts.sys.readFile);
  const { fileNames, options } = ts.parseJsonConfigFileContent({ ...config, include: ["src"] }, ts.sys, root);
  return ts.createProgram(fileNames, options);
}

function* nodesIn(node: ts.Node): Generator<ts.Node> {
  yield node;
  for (const child of node.getChildren()) {
    yield* nodesIn(child);
  }
}

/** The property that a node reads, by `settings.name` or `const { name } = settings`. */
function propertyRead(node: ts.Node, checker: ts.TypeChecker): ts.Symbol | undefined {
  if (ts.isPropertyAccessExpression(node)) {
    return checker.getSymbolAtLocation(node.name);
  }
  if (ts.isBindingElement(node) && ts.isObjectBindingPattern(node.parent) && !node.dotDotDotToken) {
    const name = node.propertyName ?? node.name;
    return ts.isIdentifier(name) ? checker.getTypeAtLocation(node.parent).getProperty(name.text) : undefined;
  }
  return undefined;
}

it("every setting that src/config makes is read outside of it", () => {
  const whole = program();
  const checker = whole.getTypeChecker();
  const settings = new Map<ts.Declaration, string>();
  const read = new Set<ts.Declaration>();
  for (const file of whole.getSourceFiles()) {
    if (whole.isSourceFileFromExternalLibrary(file) || file.isDeclarationFile) {
      continue;
    }
    const isConfiguration = file.fileName.startsWith(configuration);
    const declaresSettings = isConfiguration || MADE_BY_CONFIGURATION.includes(file.fileName);
    for (const node of nodesIn(file)) {
      if (declaresSettings && ts.isPropertySignature(node) && ts.isInterfaceDeclaration(node.parent)) {
        const name = `${node.parent.name.text}.${node.name.getText()}`;
        settings.set(node, `${name} (${relative(root, file.fileName)})`);
      }
      if (!isConfiguration) {
        for (const declaration of propertyRead(node, checker)?.declarations ?? []) {
          read.add(declaration);
        }
      }
    }
  }
  const privateToConfiguration = /^(Place|BackendParts|BackendSettings|Findings|Program|CheckReport)\./;
  const unread = [...settings].filter(
    ([node, name]) => !read.has(node) && !privateToConfiguration.test(name),
  );
  assert.ok(settings.size > 40, `${settings.size} settings`);
  assert.deepEqual(
    unread.map(([, name]) => name),
    [],
  );
});
