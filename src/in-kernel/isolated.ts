/**
 * Program: runs a command in user-mode Linux with a network that reaches nothing but the given UNIX sockets of
 * this machine. To be started as root, in a network namespace of its own. Arguments: a folder whose changes stay, the
 * paths of sockets that are to be reached from inside, those of sockets that are to reach what listens inside, each
 * separated by ":", and the command. Inside, the former are ports of HOST_ADDRESS, counted from 1, once the network device
 * has been set up as GUEST_NETWORK says (network.ts); what the latter reach are ports of GUEST_ADDRESS, counted alike.
 */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { extname, join } from "node:path";
import { GUEST_ADDRESS, HOST_ADDRESS } from "./network.ts";
import { relay } from "./relay.ts";

const DEVICE = "tap0";
const LAUNCHER = join(import.meta.dirname, `main${extname(import.meta.filename)}`);
/** As long as setTimeout can wait, as the cluster decides when to stop. */
const SECONDS_UNTIL_TIMEOUT = 2_000_000;

async function main([out, sockets, served, ...command]: string[]): Promise<number> {
  for (const ip of [
    ["link", "set", "lo", "up"],
    ["tuntap", "add", "dev", DEVICE, "mode", "tap"],
    ["address", "add", `${HOST_ADDRESS}/30`, "dev", DEVICE],
    ["link", "set", DEVICE, "up"],
  ]) {
    const { status, stderr, error } = spawnSync("ip", ip, { encoding: "utf8" });
    if (status !== 0) {
      throw new Error(`ip ${ip.join(" ")}: ${error?.message ?? stderr}`);
    }
  }
  for (const [index, path] of sockets!.split(":").entries()) {
    await relay({ host: HOST_ADDRESS, port: index + 1 }, { path });
  }
  for (const [index, path] of served!.split(":").filter(Boolean).entries()) {
    await relay({ path }, { host: GUEST_ADDRESS, port: index + 1 });
  }

  const options = [
    "--uml",
    "--quiet",
    "--tap",
    DEVICE,
    "--out",
    out!,
    "--timeout",
    String(SECONDS_UNTIL_TIMEOUT),
  ];
  const child = spawn(process.execPath, [LAUNCHER, ...options, "--", ...command], { stdio: "inherit" });
  process.once("SIGTERM", () => child.kill("SIGTERM"));
  const [code] = await once(child, "exit");
  return code ?? 1;
}

process.exit(await main(process.argv.slice(2)));
