import type { InputRootEntry } from "../../../src/cluster/storage/import-input-root.ts";
import { luaSources } from "../../demo/lua-sources.ts";
import { type PlainDigest, toDigest, toPlain } from "../../plain-digest.ts";
import type { Scenario } from "../scenario.ts";
import { measureAtDistance } from "./at-a-distance.ts";

interface Plan {
  readonly lua?: { readonly root: PlainDigest; readonly changed: PlainDigest };
  readonly project: { readonly units: number; readonly root: PlainDigest; readonly changed: PlainDigest };
}

const LUA = 'cd build && make "CC=gcc -std=gnu99" "CFLAGS=-O1 -DLUA_USE_POSIX" a lua';

const DISTANCE_MILLISECONDS = 10;

/** A C program of many files, each with the C library's headers. */
export const build: Scenario<Plan> = {
  name: "build",
  question:
    "How long does a build take in a root file system of its own, cold, warm, and with one source changed?",

  async prepare(preparation) {
    const units = preparation.quick ? 8 : 300;
    preparation.progress(`a project of ${units} files`);
    const withLua = async (changed: boolean) =>
      toPlain(await preparation.systemWithDirectory("build", await luaSources("", changed)));
    const withProject = async (revision: number) =>
      toPlain(await preparation.systemWithDirectory("project", projectOf(units, revision)));
    return {
      ...(preparation.quick ? {} : { lua: { root: await withLua(false), changed: await withLua(true) } }),
      project: { units, root: await withProject(0), changed: await withProject(1) },
    };
  },

  async measure(bench, { lua, project }) {
    if (lua) {
      await bench.interleaved("Lua", bench.sides, async (side) => {
        await side.restart("cold", bench.smallest);
        const outputs = ["build/lua", "build/liblua.a"];
        bench.recordCost("Lua, cold", side, await side.run(LUA, toDigest(lua.root), outputs));
        bench.recordCost("Lua, warm", side, await side.run(LUA, toDigest(lua.root), outputs));
        bench.recordCost(
          "Lua, one source changed",
          side,
          await side.run(LUA, toDigest(lua.changed), outputs),
        );
      });
    }
    for (const jobs of bench.quick ? [8] : [1, 8]) {
      const title = `${project.units} files, -j${jobs}`;
      const script = `cd project && make -j${jobs}`;
      await bench.interleaved(title, bench.sides, async (side) => {
        await side.restart("cold", bench.smallest);
        const outputs = ["project/program"];
        bench.recordCost(`${title}, cold`, side, await side.run(script, toDigest(project.root), outputs));
        bench.recordCost(`${title}, warm`, side, await side.run(script, toDigest(project.root), outputs));
        const changed = await side.run(script, toDigest(project.changed), outputs);
        bench.recordCost(`${title}, one source changed`, side, changed);
      });
      const far = `${title}, ${DISTANCE_MILLISECONDS} ms from the storage`;
      const sides = bench.variants.filter(({ kind }) => kind !== "local");
      await bench.interleaved(far, sides, (side) =>
        measureAtDistance(bench, side, far, DISTANCE_MILLISECONDS, () =>
          side.run(script, toDigest(project.root), ["project/program"]),
        ),
      );
    }
  },
};

/** Revisions differ in one source. */
function* projectOf(units: number, revision: number): Generator<InputRootEntry> {
  const file = (name: string, text: string): InputRootEntry => ({
    path: name,
    type: "file",
    isExecutable: false,
    content: Buffer.from(text),
  });
  const names = Array.from({ length: units }, (_, unit) => `unit${unit}`);
  yield file(
    "Makefile",
    `program: main.o ${names.map((name) => `${name}.o`).join(" ")}\n\tgcc -o $@ $^\n%.o: %.c units.h\n\tgcc -O1 -c -o $@ $<\n`,
  );
  yield file("units.h", names.map((name) => `int ${name}(int);\n`).join(""));
  yield file(
    "main.c",
    `#include <stdio.h>\n#include "units.h"\nint main(void) { int n = ${revision};\n${names
      .map((name) => `  n = ${name}(n);\n`)
      .join("")}  return printf("%d\\n", n) < 0; }\n`,
  );
  for (const [unit, name] of names.entries()) {
    yield file(
      `${name}.c`,
      `#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n#include <errno.h>\n#include "units.h"\n` +
        `int ${name}(int n) { char text[32]; snprintf(text, sizeof text, "%d", n + ${unit}); return (int)strlen(text) + atoi(text); }\n`,
    );
  }
}
