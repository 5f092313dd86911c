import { join } from "node:path";
import { programCommand } from "../../src/cluster/programs.ts";

/** How a worker gives actions their files. */
export type BuildDirectory = "nfsv4" | "fuse" | "hard-links";

/** A worker with its runner, which the suite compares with others. */
export interface SideDefinition {
  /** Also the value of the platform property by which actions choose it. */
  readonly name: string;
  readonly title: string;
  readonly buildDirectory: BuildDirectory;
  /** Whether it fetches what such actions have read before. */
  readonly prefetching?: boolean;
  /** The commands, to which the configuration file is added. */
  readonly worker: readonly string[];
  readonly runner: readonly string[];
}

/** With the programs in that folder, as `npm run package` makes it. */
export function ourSides(programs: string): SideDefinition[] {
  return [
    { name: "nfs", title: "lazy, NFSv4", buildDirectory: "nfsv4", ...commands(programs) },
    { name: "hard-links", title: "hard links", buildDirectory: "hard-links", ...commands(programs) },
  ];
}

/** One of our sides with another setting, for scenarios that are about it. */
export function ourVariants(programs: string): (SideDefinition & { readonly of: string })[] {
  return [
    {
      name: "nfs-prefetching",
      of: "nfs",
      title: "lazy, NFSv4, prefetching",
      buildDirectory: "nfsv4",
      prefetching: true,
      ...commands(programs),
    },
  ];
}

function commands(programs: string): Pick<SideDefinition, "worker" | "runner"> {
  return { worker: programCommand("worker", programs), runner: programCommand("runner", programs) };
}

/** What `--peer NAME=DIR` adds. Throws for a name that it does not know. */
export function peerSides(peer: string): SideDefinition[] {
  const [name, folder] = peer.split("=", 2);
  if (name !== "buildbarn" || !folder) {
    throw new Error(`--peer ${peer}: must be buildbarn=DIR, DIR being where bb_worker and bb_runner are`);
  }
  const programs = { worker: [join(folder, "bb_worker")], runner: [join(folder, "bb_runner")] };
  return [
    { name: "buildbarn-fuse", title: "Buildbarn, FUSE", buildDirectory: "fuse", ...programs },
    { name: "buildbarn-nfs", title: "Buildbarn, NFSv4", buildDirectory: "nfsv4", ...programs },
    {
      name: "buildbarn-hard-links",
      title: "Buildbarn, hard links",
      buildDirectory: "hard-links",
      ...programs,
    },
  ];
}
