import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import ts from "typescript";

const SOURCES = join(import.meta.dirname, "../../../src");
/** What becomes bb_worker and bb_runner. */
const FOLDERS = ["authentication", "cas", "config", "grpc", "http", "jmespath", "jsonnet", "mount", "native"];
const PROGRAMS = ["reapi", "runner", "telemetry", "vfs", "worker"];
/** What is called with a message that ends in the log, or in an action's status. */
const CALLED =
  /(?:^|[.#?])(?:log\??\.(?:warn|error)|report|onError|failure|status|attachError|goesOn|invalid)$/i;
const THROWN = /Error$/;
/** Of a file system: they are statuses of NFS, without words. */
const WITHOUT_WORDS = /^FileSystemError$/;
/** See {@link isMessage}. */
const LEAST_LETTERS = 8;

/** A message as the code has it, with "…" for what is known only at run time. */
export interface Message {
  readonly file: string;
  readonly text: string;
}

/** All messages of errors and warnings that the programs' TypeScript has. */
export function messagesOf(): readonly Message[] {
  const files = globSync(`{${[...FOLDERS, ...PROGRAMS].join(",")}}/**/*.ts`, { cwd: SOURCES });
  return files.flatMap((file) => {
    const text = readFileSync(join(SOURCES, file), "utf8");
    const messages: Message[] = [];
    const visit = (node: ts.Node): void => {
      if (ts.isNewExpression(node) || ts.isCallExpression(node)) {
        const name = node.expression.getText();
        const speaks = ts.isNewExpression(node)
          ? THROWN.test(name) && !WITHOUT_WORDS.test(name)
          : CALLED.test(name);
        const found = speaks ? (node.arguments ?? []).flatMap((argument) => textsOf(argument)) : [];
        const prefix = name === "attachError" ? "cannot " : "";
        messages.push(...found.filter(isMessage).map((text) => ({ file, text: `${prefix}${text}` })));
      }
      if (ts.isFunctionDeclaration(node) && node.name?.text.startsWith("describe")) {
        messages.push(...returnedBy(node).map((text) => ({ file, text })));
      }
      ts.forEachChild(node, visit);
    };
    visit(ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true));
    return messages;
  });
}

/** Whether a text is more than a word within a message, or an errno. */
export function isMessage(text: string): boolean {
  return text.includes(" ") && text.replaceAll(/[^a-z]/gi, "").length >= LEAST_LETTERS;
}

/** The texts that an expression can have; none where it is no text. */
function textsOf(node: ts.Expression): readonly string[] {
  if (ts.isStringLiteralLike(node)) {
    return [node.text];
  }
  if (ts.isTemplateExpression(node)) {
    return [node.head.text + node.templateSpans.map(({ literal }) => `…${literal.text}`).join("")];
  }
  if (ts.isParenthesizedExpression(node)) {
    return textsOf(node.expression);
  }
  if (ts.isConditionalExpression(node)) {
    return [...textsOf(node.whenTrue), ...textsOf(node.whenFalse)];
  }
  if (ts.isBinaryExpression(node) && node.operatorToken.kind === ts.SyntaxKind.PlusToken) {
    const [left = "…"] = textsOf(node.left);
    const [right = "…"] = textsOf(node.right);
    return [left + right];
  }
  if (ts.isIdentifier(node)) {
    return initializerOf(node);
  }
  return [];
}

/** The texts that a function returns. */
function returnedBy(declaration: ts.FunctionDeclaration): readonly string[] {
  const found: string[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isReturnStatement(node) && node.expression) {
      found.push(...textsOf(node.expression).filter(isMessage));
    }
    ts.forEachChild(node, visit);
  };
  visit(declaration);
  return found;
}

/** The text that a constant of the same file was given. */
function initializerOf(name: ts.Identifier): readonly string[] {
  const found: string[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isVariableDeclaration(node) && node.name.getText() === name.text && node.initializer) {
      found.push(...(ts.isIdentifier(node.initializer) ? [] : textsOf(node.initializer)));
    }
    ts.forEachChild(node, visit);
  };
  visit(name.getSourceFile());
  return found;
}
