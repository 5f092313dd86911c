/** What a suite is to the program: cases to choose from, and a way to run them in a directory. */
import type { Files } from "../kernel/mounted-file-systems.ts";

/** What one test of a suite ended with. */
export interface Result {
  /** Names the test within its suite. */
  readonly test: string;
  readonly outcome: "passed" | "failed" | "skipped";
  /** What the suite said about a failure or a skip. */
  readonly note?: string;
}

/** The results of one case. */
export interface CaseResults {
  readonly name: string;
  readonly results: readonly Result[];
}

/** How mount(8) is told to mount a directory of the server, for suites that mount themselves. */
export interface RemoteDirectory {
  /** For example "127.0.0.1:/test". */
  readonly source: string;
  readonly port: number;
  /** The options of nfs(5), separated by commas; the port is one of them. */
  readonly options: string;
}

/** Where a suite runs. */
export interface Place {
  /** "tmpfs", or the NFS version, such as "4.1". */
  readonly version: string;
  /** Whether the directories of {@link directory} are made of inputs: files and directories of the CAS. */
  readonly inputs: boolean;
  /** This machine's own folder for what a suite keeps beside: not on the tested file system. */
  readonly scratch: string;
  /** The path of a new directory with these files. */
  directory(files?: Files): Promise<string>;
  /** A new empty directory of the server, not mounted yet; undefined where there is no server. */
  remoteDirectory(name: string): Promise<RemoteDirectory | undefined>;
  /** After this, in milliseconds of performance.now(), no further case should begin. */
  readonly deadline: number;
}

export interface Suite {
  /** What can be run on its own, in order. */
  readonly cases: readonly string[];
  /** Runs the cases, in order, until the place's deadline. */
  run(cases: readonly string[], place: Place): AsyncIterable<CaseResults>;
}

export interface SuiteDefinition {
  readonly name: string;
  /** For the help: what it tests, in a few words. */
  readonly subject: string;
  /** The option by which the caller names its folder; absent for a program that is on the PATH. */
  readonly folderOption?: string;
  /** Files that must be there: paths in the folder, or names of programs on the PATH. */
  readonly needs: readonly string[];
  /** Whether it is a client itself, which needs our server alone, and neither a mount nor a kernel that can mount. */
  readonly protocolOnly?: boolean;
  /** How to get it, as a command. */
  readonly get: string;
  /** `folder` is absolute, or "" for a program on the PATH. */
  open(folder: string): Suite;
}

/** The runner of suites whose cases know nothing of each other: one after the other, or some at the same time. */
export async function* eachCase(
  cases: readonly string[],
  place: Place,
  run: (name: string) => Promise<readonly Result[]>,
  concurrency = 1,
): AsyncGenerator<CaseResults> {
  const waiting = [...cases];
  const running = new Map<string, Promise<CaseResults>>();
  while (true) {
    while (running.size < concurrency && waiting.length > 0 && performance.now() < place.deadline) {
      const name = waiting.shift()!;
      running.set(
        name,
        run(name).then((results) => ({ name, results })),
      );
    }
    if (running.size === 0) {
      return;
    }
    const ended = await Promise.race(running.values());
    running.delete(ended.name);
    yield ended;
  }
}
