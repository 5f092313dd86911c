import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { NfsMount, type NfsVersion } from "../../src/mount/index.ts";
import { NfsServer } from "../../src/nfs/index.ts";
import { SystemClock } from "../../src/vfs/clock.ts";
import { DirectoryFilePool, type Fault, FileTree, QuotaExceededError } from "../../src/vfs/index.ts";
import { executable, FakeInputSource, symlink, type Tree } from "../unit/vfs/fake-input-source.ts";
import { compile, inKernel, sh as run } from "./mounted-file-systems.ts";

const TEXT = Array.from({ length: 2000 }, (_, i) => `line ${i}`)
  .join("\n")
  .concat("\n");

const INPUTS: Tree = {
  plain: "plain\n",
  twin: "plain\n",
  tool: executable("#!/bin/sh\necho tool says $1\n"),
  text: TEXT,
  link: symlink("dir/inner"),
  dir: { inner: "inner\n", deeper: { deepest: "deepest\n" }, empty: "" },
  untouched: { hidden: { never: "never read\n" } },
};

/** Goes on by a minute when it is told to, so that what one test wanted to change is forgotten in the next. */
class JumpingClock extends SystemClock {
  #skipped = 0;

  jump(): void {
    this.#skipped += 60_000;
  }

  override monotonic(): number {
    return super.monotonic() + this.#skipped;
  }
}

for (const version of ["4.0", "4.1", "4.2"] satisfies NfsVersion[]) {
  describe(`a file tree through the kernel's client, vers=${version}`, inKernel, () => {
    const source = new FakeInputSource();
    source.delayed = true;
    let folder: string;
    let tree: FileTree;
    let server: NfsServer;
    let mount: NfsMount;
    const clock = new JumpingClock();
    let actions = 0;

    before(async () => {
      folder = mkdtempSync(join(tmpdir(), "tree-"));
      tree = new FileTree({ source, pool: new DirectoryFilePool(join(folder, "pool")), clock });
      server = new NfsServer({ fileSystem: tree, delegations: true });
      const port = await server.listen();
      mount = await NfsMount.mount({ port, serverPath: "/", mountPath: join(folder, "mount"), version });
    });

    after(async () => {
      await mount.unmount(1000);
      await server.close();
      rmSync(folder, { recursive: true, force: true });
    });

    /** A new action, removed at the end. */
    async function inAction(
      use: (action: {
        path: string;
        sh: (script: string) => Promise<string>;
        faults: Fault[];
        build: ReturnType<FileTree["createBuildDirectory"]>;
      }) => Promise<void>,
      inputs = INPUTS,
      quota = {},
    ): Promise<void> {
      clock.jump();
      const name = `action-${++actions}`;
      const faults: Fault[] = [];
      const build = tree.createBuildDirectory(name, { quota, onFault: (fault) => faults.push(fault) });
      await build.attachInputRoot(["root"], source.addTree(inputs));
      const path = join(folder, "mount", name, "root");
      try {
        await use({ path, sh: (script) => run(script, path), faults, build });
      } finally {
        await build.remove();
      }
      assert.deepEqual([build.quota.fileCount, build.quota.sizeBytes], [0, 0]);
    }

    it("reads inputs, fetching only what is asked for", () =>
      inAction(async ({ sh }) => {
        source.readsAsked.length = 0;
        source.directoriesAsked.length = 0;
        assert.equal(
          await sh("./tool hello; cat link; cat dir/deeper/deepest"),
          "tool says hello\ninner\ndeepest",
        );
        assert.equal(source.directoriesAsked.length, 3);
        assert.equal(
          await sh("stat -c '%a %h %s %Y' plain tool"),
          "444 9999 6 946684800\n555 9999 28 946684800",
        );
        assert.equal(await sh("test plain -ef twin && readlink link"), "dir/inner");
      }));

    // NFSv4.0's callback program is probed meanwhile: its first opens may come too early for delegations.
    if (version !== "4.0") {
      it("opens, reads and asks about what it or another action has read without a call", async () => {
        const inputs = Object.fromEntries(
          Array.from({ length: 50 }, (_, i) => [`file${i}`, `content ${i}\n`] as const),
        );
        let calls = 0;
        const expectFewCalls = () => {
          const { SEQUENCE = 0 } = server.statistics().operations;
          assert.ok(SEQUENCE - calls < 20, `${SEQUENCE - calls} calls`);
        };
        await inAction(async ({ sh }) => {
          await sh("cat * >/dev/null");
          calls = server.statistics().operations.SEQUENCE ?? 0;
          await sh("stat * >/dev/null; cat * >/dev/null");
        }, inputs);
        expectFewCalls();
        await inAction(async ({ sh }) => void (await sh("stat * >/dev/null; cat * >/dev/null")), inputs);
        expectFewCalls();
      });
    }

    // Each input is changed alone and then looked at; its twin has the same content and must not change.
    const changes: [name: string, script: string, expected: string][] = [
      ["appending", "echo more >>plain; cat plain", "plain\nmore"],
      ["overwriting", "echo new >plain; cat plain", "new"],
      ["appending after reading", "cat plain >/dev/null; echo more >>plain; cat plain", "plain\nmore"],
      [
        "overwriting after reading",
        "cat plain >/dev/null; stat plain >/dev/null; echo new >plain; cat plain",
        "new",
      ],
      [
        "writing in the middle",
        "printf XX | dd of=plain bs=1 seek=1 conv=notrunc status=none; cat plain",
        "pXXin",
      ],
      ["truncate(2)", "truncate -s 3 plain; cat plain; stat -c ' %s' plain", "pla 3"],
      ["truncate(2) after reading", "cat plain >/dev/null; truncate -s 3 plain; cat plain; echo", "pla"],
      [
        "truncating to a longer file",
        "truncate -s 9 plain; stat -c '%s' plain; od -An -c plain | tr -d ' '",
        "9\nplain\\n\\0\\0\\0",
      ],
      ["chmod", "chmod 640 plain; stat -c '%a %Y' plain; cat plain", "640 946684800\nplain"],
      ["chmod after reading", "cat plain; chmod 640 plain; stat -c '%a' plain", "plain\n640"],
      [
        "chmod of what is open for reading",
        "exec 3<plain; chmod 640 plain; stat -c '%a' plain; cat <&3",
        "640\nplain",
      ],
      [
        "touch -d of what is open for reading",
        "exec 3<plain; touch -d @99 plain; stat -c %Y plain; cat <&3",
        "99\nplain",
      ],
      [
        "truncate(2) of what is open for reading",
        "exec 3<plain; truncate -s 3 plain; cat plain; cat <&3",
        "plaplain",
      ],
      [
        "ln of what is open for reading",
        "exec 3<plain; ln plain hard; stat -c %h plain; cat <&3",
        "2\nplain",
      ],
      [
        "writing to what is open for reading",
        "exec 3<text; echo x >>text; tail -1 text; tail -1 <&3",
        "x\nline 1999",
      ],
      ["chown", "chown 12:34 plain; stat -c '%u %g' plain", "12 34"],
      ["touch -d", "touch -d @1234567890 plain; stat -c '%Y' plain; cat plain", "1234567890\nplain"],
      [
        "touch -d after reading",
        "cat plain; touch -d @1234567890 plain; stat -c '%Y' plain",
        "plain\n1234567890",
      ],
      ["touch", "touch plain; test plain -nt dir/inner; cat plain", "plain"],
      [
        "ln",
        "ln plain hard; stat -c '%h' plain hard; test plain -ef hard; echo x >>hard; cat plain",
        "2\n2\nplain\nx",
      ],
      ["ln after reading", "cat plain; ln plain hard; stat -c '%h' plain hard", "plain\n2\n2"],
      ["cp over it", "cp text plain; cmp text plain; echo same", "same"],
      [
        "cp of it",
        "cp -p plain copy; echo x >>copy; stat -c '%Y' plain; cat plain copy",
        "946684800\nplain\nplain\nx",
      ],
      ["cp -l of it", "cp -l plain copy; stat -c '%h' copy", "2"],
      ["sed -i", "sed -i s/plain/changed/ plain; cat plain", "changed"],
      ["mv", "mv plain moved; cat moved; test ! -e plain", "plain"],
      ["mv over it", "mv text plain; head -1 plain; test ! -e text", "line 0"],
      ["install over it", "install -m 755 text plain; stat -c '%a %s' plain", `755 ${TEXT.length}`],
      ["rm and create", "rm plain; echo again >plain; cat plain", "again"],
      ["mmap and exec", "cp tool tool2; ./tool2 me; rm tool; ! test -e tool", "tool says me"],
    ];
    for (const [name, script, expected] of changes) {
      it(`copies on write: ${name}`, () =>
        inAction(async ({ sh, faults }) => {
          const twin = "cat twin; stat -c %a twin";
          assert.equal(await sh(`${script}\necho; ${twin}`), `${expected}\n\nplain\n444`);
          assert.deepEqual(faults, []);
        }));
    }

    it("leaves other actions alone", () =>
      inAction(async ({ sh: first }) =>
        inAction(async ({ sh: second }) => {
          await first("cat plain text >/dev/null");
          await second("cat plain text >/dev/null; echo mine >plain; rm text; mkdir new");
          assert.equal(await first("cat plain; wc -l <text; ls"), `plain\n2000\n${await listed()}`);
          assert.equal(
            await second("cat plain; ls | tr '\\n' ' '"),
            "mine\ndir link new plain tool twin untouched",
          );
        }),
      ));
    const listed = async () => Object.keys(INPUTS).sort().join("\n");

    it("makes, moves and removes directories of the input root", () =>
      inAction(async ({ sh }) => {
        source.directoriesAsked.length = 0;
        await sh("mkdir -p made/a/b; mv untouched made/a/; mv dir/deeper made/; rmdir made/a/b");
        assert.deepEqual(
          await sh("cd made; find . | sort"),
          ".\n./a\n./a/untouched\n./a/untouched/hidden\n./a/untouched/hidden/never\n./deeper\n./deeper/deepest",
        );
        await sh("rm -r made dir; ! test -e dir");
        assert.equal(await sh("ls"), "link\nplain\ntext\ntool\ntwin");
        await assert.rejects(sh("mkdir x; mv x x/y"), /subdirectory of itself/);
        await assert.rejects(sh("mkdir full; touch full/f; rmdir full"), /not empty/);
      }));

    it("keeps what is unlinked while it is open, without leftovers", () =>
      inAction(async ({ sh, build }) => {
        const hidden = version === "4.0" ? "| grep -v '^.nfs'" : "";
        const left = `ls -A ${hidden} | tr '\\n' ' '`;
        assert.equal(
          await sh(`echo text >f; exec 3<>f; rm f; echo more >>/dev/fd/3; ${left}; cat /dev/fd/3`),
          "dir link plain text tool twin untouched text\nmore",
        );
        assert.equal(await sh("ls -A | tr '\\n' ' '"), "dir link plain text tool twin untouched");
        assert.equal(build.quota.fileCount, 0);
      }));

    it("holds large, sparse and truncated files", () =>
      inAction(async ({ sh }) => {
        await sh("head -c 5000000 /dev/urandom >big; cp big big2; cmp big big2; sync");
        await sh("exec 3>>big; head -c 5000 /dev/zero >&3; truncate -s 5000000 big; cmp big big2");
        assert.equal(
          await sh("truncate -s 5G sparse; echo end >>sparse; stat -c %s sparse; tail -c 4 sparse"),
          `${5 * 2 ** 30 + 4}\nend`,
        );
        assert.equal(
          await sh("seq 1000 | xargs -P 4 -n 50 sh -c 'echo $@ >>appended' x; wc -w <appended"),
          "1000",
        );
      }));

    it("ends in EDQUOT where the quota is used up, and says so to the worker", () =>
      inAction(
        async ({ sh, faults }) => {
          await assert.rejects(sh("head -c 300000 /dev/zero >big; sync big"), /quota exceeded/i);
          assert.ok(faults[0] instanceof QuotaExceededError);
          await sh("rm -f big; echo small >small");
        },
        INPUTS,
        { maximumSizeBytes: 200_000, maximumFileCount: 10 },
      ));

    it("ends in EIO where an input is missing, and says so to the worker", () =>
      inAction(
        async ({ sh, faults }) => {
          const digest = source.addBlob("only here\n");
          source.lose(digest);
          await assert.rejects(sh("cat missing"), /Input\/output error/);
          assert.deepEqual(
            faults.map((fault) => "digest" in fault && fault.digest),
            [digest],
          );
          source.restore(digest);
          assert.equal(await sh("cat missing"), "only here");
        },
        { ...INPUTS, missing: "only here\n" },
      ));

    const only = (name: string) => ({ only: `#!/bin/sh\necho ${name} ${version}\n`, dir: { inner: name } });
    const said = `descriptor ${version}`;
    const script = `#!/bin/sh\necho ${said}`;
    const perl = (program: string) => `perl -e 'open(F, "<", "only") or die $!; ${program}'`;
    const stats = 'printf("%o %d ", (stat($_))[2] & 07777, (stat($_))[9]) for (*F, "only")';

    it("changes an input through a descriptor that is open for reading", () =>
      inAction(async ({ sh: first, faults }) => {
        await first("cat only");
        assert.equal(await first(perl(`chmod(0750, F) or die $!; ${stats}`)), "750 946684800 750 946684800");
        assert.equal(
          await first(perl(`utime(1, 2, F) or die $!; ${stats}; print <F>`)),
          `750 2 750 2 ${script}`,
        );
        assert.equal(
          await first("./only; echo more >>only; tail -1 only; stat -c %a only"),
          `${said}\nmore\n750`,
        );
        await inAction(async ({ sh: second }) => {
          assert.equal(await second("stat -c '%a %h %Y' only; cat only"), `444 9999 946684800\n${script}`);
          // In both, the file is now known to one action alone.
          assert.equal(
            await second(perl(`chmod(0700, F) or die $!; ${stats}`)),
            "700 946684800 700 946684800",
          );
          assert.equal(await first("stat -c %a only; tail -1 only"), "750\nmore");
        }, only("descriptor"));
        assert.deepEqual(faults, []);
      }, only("descriptor")));
    it("does not change through a descriptor what another action may have, too", () =>
      inAction(
        async ({ sh: first }) =>
          inAction(async ({ sh: second }) => {
            await first("cat only");
            await second("cat only");
            assert.equal(await first(perl('chmod(0750, F) or print "$!"')), "Stale file handle");
            assert.equal(await second("stat -c %a only"), "444");
            await first("chmod 750 only");
            assert.equal(await first("stat -c %a only"), "750");
            assert.equal(await second("stat -c %a only"), "444");
          }, only("shared")),
        only("shared"),
      ));

    it("is asked for a change of an input twice, whether that is delegated or not", () =>
      inAction(async ({ sh }) => {
        await sh("cat plain text >/dev/null");
        const { SETATTR = 0 } = server.statistics().operations;
        await sh(`perl -e 'truncate("plain", 3) or die $!'`);
        await sh(`perl -e 'utime(1, 2, "text") or die $!'`);
        assert.equal(server.statistics().operations.SETATTR, SETATTR + 4);
        assert.equal(await sh("cat plain; stat -c ' %Y' text"), "pla 2");
      }));

    // Linux has no such handles of files of NFSv4.0.
    if (version !== "4.0") {
      it("opens files by handles that were given out, and not by those that an action makes up", () =>
        inAction(
          async ({ sh, path }) => {
            const program = await compile(folder, `open-by-handle-${version}`, ["open-by-handle.c"]);
            const secret = source.addBlob("in no input root");
            const known = source.addBlob("a known input, \n");
            assert.equal(await sh("cat known"), "a known input,");
            assert.equal(await run(`${program} ${path}/known`, "/"), "a known input,");
            const forged = `${program} ${path}/known ${known.hash} ${secret.hash}`;
            assert.equal(await run(forged, "/"), "Stale file handle");
          },
          { ...INPUTS, known: "a known input, \n" },
        ));
    }

    it("shows the quota as it was once everything is gone, and holds no nodes", async () => {
      assert.equal(tree.counts().buildDirectories, 0);
      await run("ls", join(folder, "mount"));
      assert.equal(tree.counts().directories, 0);
    });

    if (version === "4.2") {
      it("keeps apart what several processes change at the same time in several actions", () => {
        const names = ["shared", "own-1", "own-2"].flatMap((owner) =>
          Array.from({ length: 6 }, (_, index) => [`${owner}-${index}`, `content ${index}\n`]),
        );
        const inputs: Tree = Object.fromEntries(names);
        const change = (seed: number) =>
          `"${process.execPath}" "${join(import.meta.dirname, "change-inputs.ts")}" . ${seed} 10`;
        return inAction(
          ({ sh: first }) =>
            inAction(async ({ sh: second }) => {
              await Promise.all([first(change(1)), first(change(2)), second(change(1)), second(change(2))]);
            }, inputs),
          inputs,
        );
      });

      it("has clones, holes and extended attributes", () =>
        inAction(async ({ sh, build }) => {
          await sh("cp --reflink=always text clone; cmp text clone");
          const clone = await build.lookupPath(["root", "clone"]);
          assert.ok(clone && "digest" in clone);
          assert.deepEqual(clone.digest, source.addBlob(TEXT));
          await sh("fallocate -p -o 100 -l 1000 clone; fallocate -l 50000 clone");
          assert.equal(
            await sh("stat -c %s clone; head -c 1100 clone | tail -c 1000 | tr -d '\\0' | wc -c"),
            "50000\n0",
          );
          if (await run("command -v python3", "/").catch(() => "")) {
            const python = `import os; os.setxattr("plain", "user.x", b"y"); print(os.getxattr("plain", "user.x"), os.listxattr("plain"))`;
            assert.equal(await sh(`cat plain; python3 -c '${python}'`), "plain\nb'y' ['user.x']");
          }
        }));
    }
  });
}
