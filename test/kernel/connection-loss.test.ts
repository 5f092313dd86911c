import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import type { OperationName } from "../../src/nfs/index.ts";
import { CuttingProxy } from "./cutting-proxy.ts";
import { compile, describeMounts, inKernel, type MountedFileSystem, run } from "./mounted-file-systems.ts";

/** What the client asks for under connection-workload.c. */
const OPERATIONS: readonly OperationName[] = [
  ...(["ACCESS", "CLOSE", "COMMIT", "CREATE", "GETATTR", "LINK", "LOOKUP", "OPEN"] as const),
  ...(["OPEN_DOWNGRADE", "READ", "READDIR", "READLINK", "REMOVE", "RENAME", "SETATTR", "WRITE"] as const),
];
/** The client keeps locks of files that are delegated to itself. */
const operationsOf = (mount: MountedFileSystem): readonly OperationName[] =>
  mount.delegates && mount.name === "memory" ? ["DELEGRETURN"] : ["LOCK", "LOCKU"];
const OPERATIONS_SINCE_MINOR_2: readonly OperationName[] = [
  ...(["ALLOCATE", "CLONE", "COPY", "DEALLOCATE", "SEEK"] as const),
  ...(["GETXATTR", "LISTXATTRS", "REMOVEXATTR", "SETXATTR"] as const),
];

const PROCESSES = 3;
/** Many more than it takes to cut everything; see how many it took in the test's output. */
const ROUNDS = 100;

describe("connections that break", inKernel, () => {
  const folder = mkdtempSync(join(tmpdir(), "connection-loss-"));
  let workload: string;
  let proxy: CuttingProxy;

  before(async () => {
    workload = await compile(folder, "connection-workload", ["connection-workload.c"]);
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  describeMounts(
    "in the middle of every operation",
    (mount) => {
      it("lose and repeat nothing, and no program sees an error", async (test) => {
        const operations = [...OPERATIONS, ...operationsOf(mount)];
        if (mount.minor >= 2) {
          operations.push(...OPERATIONS_SINCE_MINOR_2);
        }
        const directory = await mount.directory();
        const everythingWasCut = new AbortController();
        proxy.startCutting(operations, () => everythingWasCut.abort());
        const args = [directory, String(mount.minor), String(PROCESSES), String(ROUNDS)];
        const { status, output } = await run(workload, args, everythingWasCut.signal);
        assert.equal(status, 0, `with SEED=${proxy.seed}: ${output}`);
        assert.deepEqual(proxy.missing(), []);
        test.diagnostic(`${proxy.cutCount} connections cut in ${output.trim().replaceAll("\n", ", ")}`);
      });
    },
    async (serverPort) => {
      proxy = await CuttingProxy.open(serverPort, Number(process.env.SEED ?? randomInt(2 ** 31)));
      return proxy;
    },
  );
});
