import { readFileSync } from "node:fs";
import path from "node:path";
import packageJson from "../../package.json" with { type: "json" };
import { type ProgramName, ROOT } from "./bundle.ts";
import { OWN_CODE } from "./bundled-packages.ts";

/** Of `process.versions`: numbers of interfaces, not parts. */
const NODE_INTERFACES: readonly string[] = ["modules", "napi"];

/** As CycloneDX has it: https://cyclonedx.org/docs/1.6/json/#components. */
interface Component {
  readonly "bom-ref": string;
  readonly type: "application" | "library" | "platform";
  readonly name: string;
  readonly version: string;
  readonly [field: string]: unknown;
}

/**
 * What is in a bundle with the native files beside it, or in an executable, which has Node as well: a bill of materials of
 * CycloneDX, in JSON. The same contents have the same bill.
 *
 * @param packages as `bundledPackages()` has them
 * @throws Error if an installed package is not the lock file's
 */
export function billOfMaterials(
  program: ProgramName,
  packages: ReadonlyMap<string, ReadonlySet<string>>,
  form: "bundle" | "executable",
): string {
  const { version, license } = packageJson;
  const main: Component = {
    "bom-ref": program,
    type: "application",
    name: program,
    version,
    licenses: licensed(license),
  };
  const others = form === "executable" ? [cLibrary(), node()] : [cLibrary()];
  const components = [...others, ...npmPackages([...packages.keys()].filter((key) => key !== OWN_CODE))];
  const dependencies = [...packages].map(([folder, imported]) =>
    folder === OWN_CODE
      ? { ref: program, dependsOn: [...imported, ...others.map((other) => other["bom-ref"])].sort() }
      : { ref: folder, dependsOn: [...imported].sort() },
  );
  const bill = {
    $schema: "http://cyclonedx.org/schema/bom-1.6.schema.json",
    bomFormat: "CycloneDX",
    specVersion: "1.6",
    version: 1,
    metadata: { lifecycles: [{ phase: "build" }], component: main },
    components: components.sort((a, b) => (a["bom-ref"] < b["bom-ref"] ? -1 : 1)),
    dependencies: dependencies.sort((a, b) => (a.ref < b.ref ? -1 : 1)),
  };
  return `${JSON.stringify(bill, undefined, 2)}\n`;
}

/** The packages that are installed in these folders. */
function npmPackages(folders: readonly string[]): Component[] {
  const lock = readJson("package-lock.json") as {
    readonly packages: Readonly<Record<string, { readonly version: string; readonly integrity: string }>>;
  };
  return folders.map((folder) => {
    const installed = readJson(`${folder}/package.json`) as Record<"name" | "version" | "license", string>;
    const { name, version, license } = installed;
    const locked = lock.packages[folder];
    if (locked?.version !== version) {
      throw new Error(
        `${folder} has version ${version}, and package-lock.json ${locked?.version}: run "npm ci"`,
      );
    }
    return {
      "bom-ref": folder,
      type: "library",
      name,
      version,
      purl: `pkg:npm/${name.replace("@", "%40")}@${version}`,
      licenses: licensed(license),
      // Of the package as the registry has it.
      hashes: [
        {
          alg: "SHA-512",
          content: Buffer.from(locked.integrity.replace(/^sha512-/, ""), "base64").toString("hex"),
        },
      ],
    };
  });
}

/** This Node, of which the executables are copies, with the libraries that it has inside. */
function node(): Component {
  const { node: version, ...parts } = process.versions;
  return {
    ...notFromNpm("platform", "node", version, "nodejs:node.js", "MIT"),
    components: Object.entries(parts)
      .filter(([name, version]) => version && !NODE_INTERFACES.includes(name))
      .map(([name, version]) => ({ type: "library", name, version })),
  };
}

/** This machine's, which is linked into the helpers. */
function cLibrary(): Component {
  const { header } = process.report.getReport() as {
    readonly header: { readonly glibcVersionRuntime: string };
  };
  return notFromNpm("library", "glibc", header.glibcVersionRuntime, "gnu:glibc", "LGPL-2.1-or-later");
}

/** `product`: vendor and name by which the CVE lists know it. */
function notFromNpm(
  type: Component["type"],
  name: string,
  version: string,
  product: string,
  license: string,
): Component {
  return {
    "bom-ref": name,
    type,
    name,
    version,
    purl: `pkg:generic/${name}@${version}`,
    cpe: `cpe:2.3:a:${product}:${version}:*:*:*:*:*:*:*`,
    licenses: licensed(license),
  };
}

function licensed(expression: string): readonly object[] {
  return [{ expression }];
}

function readJson(file: string): unknown {
  return JSON.parse(readFileSync(path.join(ROOT, file), "utf8"));
}
