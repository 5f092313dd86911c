import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { findProgram } from "../../src/in-kernel/find-program.ts";

/** Debian's, if it is installed: `apt-get install -y --no-install-recommends prometheus`. */
export const PROMETHEUS = findProgram("prometheus");

/** A Prometheus that scrapes each second. */
export class Prometheus implements AsyncDisposable {
  readonly #address: string;
  readonly #close: () => Promise<void>;

  private constructor(address: string, close: () => Promise<void>) {
    this.#address = address;
    this.#close = close;
  }

  /** @param targets Addresses by their jobs. `address` is where it is to listen. */
  static async start(targets: Readonly<Record<string, string>>, address: string): Promise<Prometheus> {
    const folder = mkdtempSync(join(tmpdir(), "prometheus-"));
    const configuration = {
      global: { scrape_interval: "1s" },
      scrape_configs: Object.entries(targets).map(([job, target]) => ({
        job_name: job,
        static_configs: [{ targets: [target] }],
      })),
    };
    // JSON is YAML, too.
    writeFileSync(join(folder, "prometheus.yml"), JSON.stringify(configuration));
    const child = spawn(
      PROMETHEUS!,
      [
        `--config.file=${folder}/prometheus.yml`,
        `--storage.tsdb.path=${folder}/data`,
        `--web.listen-address=${address}`,
      ],
      { stdio: ["ignore", "ignore", "pipe"] },
    );
    const lines: string[] = [];
    for await (const line of createInterface({ input: child.stderr })) {
      lines.push(line);
      if (line.includes("Server is ready to receive web requests")) {
        child.stderr.resume();
        return new Prometheus(address, async () => {
          const ended = once(child, "exit");
          child.kill("SIGTERM");
          await ended;
          rmSync(folder, { recursive: true });
        });
      }
    }
    throw new Error(`Prometheus did not start:\n${lines.join("\n")}`);
  }

  /** The values of an expression now. Throws for one that is not right. */
  async query(expression: string): Promise<readonly number[]> {
    const url = `http://${this.#address}/api/v1/query?query=${encodeURIComponent(expression)}`;
    const answer = (await (await fetch(url)).json()) as {
      readonly error?: string;
      readonly data?: { readonly result: readonly { readonly value: readonly [number, string] }[] };
    };
    if (answer.data === undefined) {
      throw new Error(`${expression}: ${answer.error}`);
    }
    return answer.data.result.map(({ value }) => Number(value[1]));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#close();
  }
}

/** What `promtool check metrics` finds wrong with an exposition. */
export function metricsProblems(text: string): readonly string[] {
  const { stdout, stderr } = spawnSync("promtool", ["check", "metrics"], { input: text, encoding: "utf8" });
  return `${stdout}${stderr}`.split("\n").filter((line) => line !== "");
}
