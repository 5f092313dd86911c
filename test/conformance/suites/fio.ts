import { resultByStatus, runProgram } from "../program.ts";
import { eachCase, type Place, type Result, type Suite, type SuiteDefinition } from "../suite.ts";

/** Each writes all of its file, or as much as its options say, and reads it back against checksums. */
const JOBS: Readonly<Record<string, readonly string[]>> = {
  "sequential writes": ["--rw=write", "--bs=64k"],
  "random writes": ["--rw=randwrite", "--bs=4k"],
  "random writes of odd sizes": ["--rw=randwrite", "--bsrange=512-100k", "--bs_unaligned=1"],
  "mapped writes": ["--rw=randwrite", "--bs=4k", "--ioengine=mmap"],
  "direct writes": ["--rw=randwrite", "--bs=8k", "--direct=1"],
  "asynchronous direct writes": [
    "--rw=randwrite",
    "--bs=16k",
    "--direct=1",
    "--ioengine=libaio",
    "--iodepth=8",
  ],
  "reads mixed with writes": ["--rw=randrw", "--bs=4k", "--verify_backlog=64"],
  "synchronous writes": ["--rw=randwrite", "--bs=32k", "--sync=1"],
  "writes with fsync": ["--rw=write", "--bs=16k", "--fsync=8"],
  "four processes": ["--rw=randwrite", "--bs=16k", "--numjobs=4"],
  "vectored writes": ["--rw=randwrite", "--bs=16k", "--ioengine=pvsync2"],
};

const FILE_BYTES = 4 * 2 ** 20;

class Fio implements Suite {
  readonly cases = Object.keys(JOBS);

  run(cases: readonly string[], place: Place) {
    return eachCase(cases, place, (name) => writeAndVerify(name, place));
  }
}

/** Runs one of {@link JOBS}. In a tree of inputs it overwrites a blob of the CAS. */
export async function writeAndVerify(name: string, place: Place): Promise<Result[]> {
  const options = JOBS[name]!;
  // With several processes fio names the files itself.
  const ofInputs = place.inputs && !options.includes("--numjobs=4");
  const folder = await place.directory(ofInputs ? { file: Buffer.alloc(FILE_BYTES, "input") } : {});
  const file = ofInputs ? ["--filename=file", "--overwrite=1"] : [];
  const checked = ["--verify=crc32c", "--verify_fatal=1", "--do_verify=1", "--randseed=1"];
  const outcome = await runProgram(
    ["fio", "--name=job", `--size=${FILE_BYTES}`, "--thread=0", ...file, ...checked, ...options],
    // fio leaves a state file in its folder when it is interrupted.
    { folder, timeoutSeconds: 120 },
  );
  return [resultByStatus(name, outcome)];
}

export const fio: SuiteDefinition = {
  name: "fio",
  subject: "data written in many ways, read back against checksums",
  needs: ["fio"],
  get: "apt-get install --no-install-recommends fio",
  open: () => new Fio(),
};
