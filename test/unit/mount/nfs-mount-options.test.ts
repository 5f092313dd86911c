import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { MountError } from "../../../src/mount/mount-helper.ts";
import { describeMountFailure, nfsMountOptions } from "../../../src/mount/nfs-mount-options.ts";

const MS_RDONLY = 1;
const MS_NOSUID = 2;
const MS_NOATIME = 1024;
const MS_NODIRATIME = 2048;

describe("mount options", () => {
  it("are those of a server on this machine", () => {
    const { flags, data } = nfsMountOptions(4321, "4.1");
    assert.equal(flags, MS_NOSUID | MS_NOATIME);
    const options = data.split(",");
    for (const option of ["vers=4.1", "port=4321", "addr=127.0.0.1", "hard", "rsize=1048576"]) {
      assert.ok(options.includes(option), option);
    }
  });

  it("end with the operator's, of which flags are no text", () => {
    const { flags, data } = nfsMountOptions(1, "4.2", ["nconnect=4,nodiratime", "ro", "suid", "acregmin=1"]);
    assert.equal(flags, MS_RDONLY | MS_NOATIME | MS_NODIRATIME);
    assert.match(data, /,nconnect=4,acregmin=1$/);
  });

  it("that are not the operator's are refused by name", () => {
    for (const option of ["port=1", "vers=3", "soft", "noresvport", "addr=1.2.3.4"]) {
      assert.throws(
        () => nfsMountOptions(1, "4.2", ["hard", option]),
        (error: unknown) => {
          assert.ok(error instanceof MountError);
          assert.match(error.message, new RegExp(`"${option}"`));
          return true;
        },
      );
    }
  });

  it("are named, with a way out, when the kernel refuses", () => {
    assert.match(describeMountFailure("ENODEV", "/m", "vers=4.2"), /\/m: ENODEV.*modprobe nfsv4.*vers=4\.2/);
    assert.match(describeMountFailure("EXDEV", "/m", ""), /EXDEV.*dmesg/);
  });
});
