import { luaSources } from "../../demo/lua-sources.ts";
import { type PlainDigest, toDigest, toPlain } from "../../plain-digest.ts";
import type { Scenario } from "../scenario.ts";

/** By name: a script. Cold ones have nothing in any cache; the others run in what those left. */
function scripts(files: number): { cold: boolean; name: string; script: string; outputs?: string[] }[] {
  return [
    { cold: true, name: "find, cold", script: "find / -xdev | wc -l" },
    { cold: false, name: "find, again", script: "find / -xdev | wc -l" },
    { cold: true, name: "ls -lR, cold", script: "ls -lR /usr | wc -l" },
    { cold: false, name: "ls -lR, again", script: "ls -lR /usr | wc -l" },
    { cold: true, name: "tar of the headers, cold", script: "tar -c /usr/include | wc -c" },
    { cold: false, name: "tar of the headers, again", script: "tar -c /usr/include | wc -c" },
    { cold: false, name: "cp -a of the headers", script: "cp -a /usr/include /copy" },
    { cold: false, name: "rm -rf of the headers", script: "rm -rf /usr/include" },
    {
      cold: false,
      name: "git init, add, status of Lua",
      script: "cd build && git init -q && git add . && git status -s | wc -l",
    },
    {
      cold: false,
      name: `${files} small files made and removed`,
      script: `mkdir /new; i=0; while [ $i -lt ${files} ]; do echo $i > /new/$i; i=$((i + 1)); done; rm -rf /new`,
    },
    {
      cold: false,
      name: `${files} small files made and uploaded`,
      script: `mkdir /new; now=$(date +%s%N); i=0; while [ $i -lt ${files} ]; do echo $now $i > /new/$i; i=$((i + 1)); done`,
      outputs: ["new"],
    },
  ];
}

export const metadata: Scenario<PlainDigest> = {
  name: "metadata",
  question: "How long do programs take that walk, list, copy, make and remove many files?",

  async prepare(preparation) {
    return toPlain(await preparation.systemWithDirectory("build", await luaSources("", false)));
  },

  async measure(bench, digest) {
    const root = toDigest(digest);
    const all = scripts(bench.quick ? 200 : 10_000);
    await bench.interleaved("all", bench.sides, async (side) => {
      for (const { cold, name, script, outputs } of all) {
        await bench.attempt(name, side, async () => {
          if (cold) {
            await side.restart("cold", bench.smallest);
          }
          bench.recordCost(name, side, await side.run(script, root, outputs));
        });
      }
    });
  },
};
