import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** Work for a mounted file system that verifies itself: a bash script for a directory of its own, which it empties. */
export interface Load {
  readonly name: string;
  readonly script: string;
}

const REPOSITORY = join(import.meta.dirname, "../..");
const LUA = fileURLToPath(new URL("./src", import.meta.resolve("lua-src/package.json")));
const DBENCH = "/usr/share/dbench/client.txt";

const ALWAYS: readonly Load[] = [
  {
    name: "git",
    script: `
      export GIT_CONFIG_COUNT=2 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0='*'
      export GIT_CONFIG_KEY_1=gc.auto GIT_CONFIG_VALUE_1=0
      git clone --quiet --no-local ${REPOSITORY} clone; cd clone
      git -c user.name=T -c user.email=t@localhost commit --quiet --allow-empty -m change
      git gc --quiet; git fsck --full --no-progress; test -z "$(git status --porcelain)"`,
  },
  {
    name: "tar",
    script: `
      hashes() { find . -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum; }
      mkdir out; tar -C ${REPOSITORY}/src -cf all.tar .; tar -C out -xf all.tar; tar -C out -df all.tar
      mv out/nfs out/moved; ln -s moved out/nfs; ln all.tar again.tar; rm all.tar; tar -tf again.tar > list
      a=$(cd out/moved && hashes); b=$(cd ${REPOSITORY}/src/nfs && hashes); test "$a" = "$b"`,
  },
  {
    name: "make",
    script: `
      cp -r ${LUA}/. .; make -j2 CFLAGS="-O0 -DLUA_USE_POSIX" lapi.o lzio.o lmem.o > log
      make -q CFLAGS="-O0 -DLUA_USE_POSIX" lapi.o lzio.o lmem.o`,
  },
  {
    name: "sparse files and locks",
    script: `
      for i in $(seq 20); do
        truncate -s 64M sparse; echo end | dd of=sparse bs=1 seek=50000000 conv=notrunc status=none
        fallocate -p -o 0 -l 1M sparse 2> /dev/null || :
        cp --sparse=always sparse copy; cmp sparse copy
        (flock 9; echo $i >> counted) 9> lock & (flock 9; echo $i >> counted) 9> lock; wait
        rm sparse copy
      done
      test $(wc -l < counted) = 40`,
  },
];

/** What can run here: dbench only where it is installed, fsx only if its program is given. */
export function loads(fsx?: string): Load[] {
  const optional: Load[] = [];
  if (existsSync(DBENCH)) {
    optional.push({ name: "dbench", script: `dbench -t 20 -c ${DBENCH} -D . 4 > log` });
  }
  if (fsx !== undefined) {
    optional.push({ name: "fsx", script: `${fsx} -q -S 0 -N 3000 -P /tmp file` });
  }
  return [...ALWAYS, ...optional];
}
