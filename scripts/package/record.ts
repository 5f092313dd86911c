import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { nodeFlags, type ProgramName } from "./bundle.ts";

/**
 * Has a program in `folder` start once, and write down what V8 has made of its bundle and of its threads' by the time
 * that it is ready. It does so in a folder of its own, needs no privilege, and reaches nobody.
 */
export async function recordCode(program: ProgramName, folder: string): Promise<void> {
  const scratch = mkdtempSync(path.join(tmpdir(), "record-"));
  try {
    const configuration = path.join(scratch, `${program}.json`);
    writeFileSync(configuration, JSON.stringify(CONFIGURATIONS[program](scratch)));
    const recording = path.join(folder, `${program}.recording.cjs`);
    const child = spawn(process.execPath, [...nodeFlags(program), recording, configuration], {
      stdio: ["ignore", "ignore", "pipe"],
    });
    const lines: string[] = [];
    // The program itself, and a worker's thread. What it takes is done once each can record, and the program is ready.
    const parts = program === "bb_worker" ? 2 : 1;
    let ready = 0;
    let recorded = 0;
    for await (const line of createInterface(child.stderr)) {
      lines.push(line);
      if (/ready for work|runner ready|^recording/.test(line) && ++ready === parts + 1) {
        child.kill("SIGUSR2");
      }
      if (line.startsWith("recorded") && ++recorded === parts) {
        child.kill("SIGTERM");
      }
    }
    if (child.exitCode === null && child.signalCode === null) {
      await once(child, "exit");
    }
    if (recorded < parts || child.exitCode !== 0) {
      throw new Error(`${program} did not record its code:\n${lines.join("\n")}`);
    }
    rmSync(recording);
  } finally {
    rmSync(scratch, { recursive: true });
  }
}

const CONFIGURATIONS = {
  bb_worker: (scratch: string): object => {
    const nobody = { address: `unix:${scratch}/nobody` };
    const grpc = { grpc: { client: nobody } };
    mkdirSync(path.join(scratch, "build"));
    mkdirSync(path.join(scratch, "cache"));
    return {
      scheduler: nobody,
      blobstore: { contentAddressableStorage: grpc, actionCache: grpc },
      directoryCache: {
        maximumCount: 10,
        maximumSizeBytes: 1e6,
        cacheReplacementPolicy: "LEAST_RECENTLY_USED",
      },
      inputDownloadConcurrency: 1,
      outputUploadConcurrency: 1,
      maximumMessageSizeBytes: 16e6,
      buildDirectories: [
        {
          native: {
            buildDirectoryPath: path.join(scratch, "build"),
            cacheDirectoryPath: path.join(scratch, "cache"),
            maximumCacheFileCount: 10,
            maximumCacheSizeBytes: 1e6,
            cacheReplacementPolicy: "LEAST_RECENTLY_USED",
          },
          runners: [{ endpoint: { address: `unix:${scratch}/runner` }, concurrency: 1 }],
        },
      ],
    };
  },
  bb_runner: (scratch: string): object => ({
    buildDirectoryPath: path.join(scratch, "build"),
    grpcServers: [{ listenPaths: [path.join(scratch, "runner")], authenticationPolicy: { allow: {} } }],
  }),
};
