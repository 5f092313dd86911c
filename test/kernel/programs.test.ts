import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, describe, it } from "node:test";
import { hasExtendedAttributes } from "../../src/nfs/index.ts";
import { describeMounts, type Files, inKernel, sh } from "./mounted-file-systems.ts";

const REPOSITORY = join(import.meta.dirname, "../..");
const LUA = join(dirname(createRequire(import.meta.url).resolve("lua-src/package.json")), "src");

/** The files of a folder of this machine. */
function filesOf(folder: string): Files {
  const entries = readdirSync(folder, { withFileTypes: true }).map((entry) => {
    const path = join(folder, entry.name);
    return [entry.name, entry.isDirectory() ? filesOf(path) : readFileSync(path)] as const;
  });
  return Object.fromEntries(entries);
}

describe("programs", inKernel, () => {
  const folder = mkdtempSync(join(tmpdir(), "programs-"));
  const gitConfiguration = join(folder, "git-configuration");
  const git = `export GIT_CONFIG_GLOBAL=${gitConfiguration}`;
  const noRepository = existsSync(join(REPOSITORY, ".git")) ? false : "this is no clone of the repository";

  before(async () => {
    writeFileSync(gitConfiguration, "[user]\nname = Test\nemail = test@localhost\n[safe]\ndirectory = *\n");
    if (!noRepository) {
      await sh(`${git}; git clone --quiet --bare file://${REPOSITORY} repository`, folder);
    }
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  describeMounts("at work", (mount) => {
    it("git clones, checks, commits and packs this repository", { skip: noRepository }, async () => {
      const script = `${git}
        git clone --quiet file://${folder}/repository clone && cd clone
        git fsck --strict --full --no-progress && git status --porcelain
        echo changed >> README.md && git commit --quiet --all --message change && git gc --quiet
        git fsck --full --no-progress && git status --porcelain
        test $(git rev-list --count HEAD) = $(($(git -C ${folder}/repository rev-list --count HEAD) + 1))`;
      assert.equal(await sh(script, await mount.directory()), "");
    });

    it("tar carries a tree there and back, with nothing changed", async () => {
      const script = `
        hashes() { find . -type f -print0 | sort -z | xargs -0 sha256sum; }
        mkdir there back; chmod 2751 there/ && ln -s ../out there/symlink
        tar -C in -cf - . | tar -C there -xf - && ln there/server.ts there/hard && truncate -s 2M there/sparse
        tar -C there --sparse -cf there.tar . && tar -C back -xf there.tar
        echo 3 > /proc/sys/vm/drop_caches
        tar -C back -df there.tar && test back/hard -ef back/server.ts && rm back/sparse back/hard
        (cd in; hashes) | sha256sum; (cd back; hashes) | sha256sum`;
      const path = await mount.directory({ in: filesOf(join(REPOSITORY, "src/nfs")) });
      const [before, after] = (await sh(script, path)).split("\n");
      assert.equal(before, after);
    });

    it("sqlite loses nothing of what concurrent writers commit", async () => {
      const script = `
        sqlite() { ${process.execPath} --no-warnings ${import.meta.dirname}/sqlite-writer.ts . "$@"; }
        sqlite; pids=; for writer in 1 2; do sqlite $writer 30 & pids="$pids $!"; done
        for pid in $pids; do wait $pid; done
        sqlite check; ls`;
      assert.equal(
        await sh(script, await mount.directory()),
        "60 rows of 2 writers, ok\n60 rows of 2 writers, ok\ndelete.db\nwal.db",
      );
    });

    // All of Lua takes 20 s in user-mode Linux.
    const [targets, check] =
      mount.version === "4.1" ? ["lua", "./lua -e 'print(_VERSION)'"] : ["lapi.o lzio.o", "echo compiled"];
    it(`make builds ${targets} in parallel, once`, async () => {
      const make = `make -j4 CFLAGS="-O0 -DLUA_USE_POSIX"`;
      const output = await sh(
        `${make} ${targets} >/dev/null; ${check}; ${make} -q ${targets}`,
        await mount.directory(filesOf(LUA)),
      );
      assert.equal(output, mount.version === "4.1" ? "Lua 5.3" : "compiled");
    });

    it("rsync -aHAX has nothing to do the second time", async () => {
      const path = await mount.directory({ from: { directory: filesOf(join(REPOSITORY, "src/nfs")) } });
      if (mount.minor >= 2) {
        const directory = await (await mount.node(join(path, "from"))).lookup("directory");
        assert.ok(directory && hasExtendedAttributes(directory));
        await directory.setExtendedAttribute("name", Buffer.from("value"), "create");
      }
      const script = `
        cd from; ln directory/server.ts hard; ln -s directory symlink; mkfifo fifo; mknod device c 1 3; cd ..
        touch -d @1.5 from/hard; chown 12:34 from/hard; chmod 4711 from/hard; mkdir to
        rsync -aHAX from/ to/; rsync -aHAX --itemize-changes from/ to/
        rsync -aHAX --itemize-changes --checksum --delete from/ to/; diff -r --no-dereference from/directory to/directory
        test to/hard -ef to/directory/server.ts; stat -c '%u %g %a %h %.1Y' to/hard; stat -c '%F %t %T' to/device to/fifo to/symlink`;
      assert.equal(
        await sh(script, path),
        "12 34 4711 2 1.5\ncharacter special file 1 3\nfifo 0 0\nsymbolic link 0 0",
      );
      if (mount.minor >= 2) {
        const copy = await mount.node(join(path, "to/directory"));
        assert.ok(hasExtendedAttributes(copy));
        assert.equal(String(Buffer.from((await copy.getExtendedAttribute("name")) ?? [])), "value");
      }
    });
  });
});
