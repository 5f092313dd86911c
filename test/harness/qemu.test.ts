/** The quick part of what a second kernel is for; see test/kernel/README.md. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import path from "node:path";
import { describe, it } from "node:test";
import { findQemu } from "../../src/in-kernel/qemu-installation.ts";

const repository = path.resolve(import.meta.dirname, "../..");

/** Why it cannot run here. */
function reasonToSkip(): string | false {
  if (process.env.QEMU !== "1") {
    return "takes minutes on a busy machine: QEMU=1 npm test -- harness/qemu";
  }
  try {
    findQemu();
    return process.getuid?.() === 0 ? false : "root's: virtiofsd";
  } catch (error) {
    return (error as Error).message;
  }
}

/** Serves files to the client of its kernel. */
const SCRIPT = `
  exec 3< <(exec node examples/nfs4-server/main.ts)
  read -u 3 command
  port=\${command#*port=} port=\${port%%,*}
  mkdir /tmp/mount
  mount -i -t nfs4 -o "vers=4.2,addr=127.0.0.1,clientaddr=127.0.0.1,port=$port" 127.0.0.1:/ /tmp/mount || exit
  cd /tmp/mount
  mkdir folder
  echo hello > folder/file
  ln folder/file other
  rm folder/file
  cat other
  stat -f -c %T .
  echo "on $IN_KERNEL" >&2
  exit 7`;

describe("in-kernel --qemu", { skip: reasonToSkip() }, () => {
  it("runs a command on a distribution's kernel, whose own client mounts our server", async () => {
    const args = ["src/in-kernel/main.ts", "--qemu", "--quiet", "--memory", "1G", "--", "bash", "-c", SCRIPT];
    const { status, stdout, stderr } = await new Promise<{
      status: number | null;
      stdout: string;
      stderr: string;
    }>((resolve) => {
      const child = execFile(process.execPath, args, { cwd: repository }, (_, stdout, stderr) =>
        resolve({ status: child.exitCode, stdout, stderr }),
      );
    });
    assert.equal(stderr, "on qemu\n");
    assert.equal(stdout, "hello\nnfs\n");
    assert.equal(status, 7);
  });
});
