import type { BbRunnerSettings } from "../config/bb-runner/application.ts";
import type { Capability } from "../config/bb-runner/confinement.ts";
import { ConfigurationError } from "../config/error.ts";
import type { Log } from "../telemetry/log.ts";
import { HelperError, type Hold } from "./spawn/command.ts";
import type { Spawner } from "./spawn/spawner.ts";

/** What acts on the files, users and processes of a root file system alone: what a package manager needs there. */
export const KEPT_CAPABILITIES: readonly Capability[] = [
  "CHOWN",
  "DAC_OVERRIDE",
  "FOWNER",
  "FSETID",
  "KILL",
  "SETGID",
  "SETUID",
  "SETPCAP",
  "NET_BIND_SERVICE",
  "SYS_CHROOT",
  "AUDIT_WRITE",
  "SETFCAP",
];

const ISOLATION_ADVICE =
  "commands get no namespaces of their own: one that runs as this process's user can outlive its action, and as root " +
  "leave chrootIntoInputRoot; run the runner as root with CAP_SYS_ADMIN (in a container: privileged)";

/** How the settings want commands to be held. */
export function holdOf(settings: BbRunnerSettings, isolated: boolean): Hold {
  const { confinement, cleanTemporaryDirectories, grpcServers } = settings;
  return {
    isolated,
    chrootIntoInputRoot: settings.chrootIntoInputRoot,
    mountProc: confinement.mountProc,
    ownNetwork: confinement.ownNetwork,
    hostName: confinement.hostName,
    writablePaths: ["/tmp", "/var/tmp", ...cleanTemporaryDirectories, ...confinement.writablePaths],
    devices: confinement.additionalDevices,
    // Whoever reaches the runner's sockets can run commands in other actions' directories.
    hiddenPaths: [...grpcServers.flatMap(({ listenPaths }) => listenPaths), ...confinement.hiddenPaths],
    capabilities: [...KEPT_CAPABILITIES, ...confinement.additionalCapabilities],
    systemCalls: confinement.additionalSystemCalls,
    newPrivileges: confinement.allowNewPrivileges,
  };
}

/**
 * The closest to what the settings want that can be had here; the log says what cannot, and what they widen. Throws a
 * ConfigurationError if they ask for what needs namespaces, and there are none.
 */
export async function possibleHold(settings: BbRunnerSettings, log: Log, spawner: Spawner): Promise<Hold> {
  const { confinement } = settings;
  let hold = holdOf(settings, true);
  let shortcomings: string[];
  try {
    shortcomings = await spawner.probe(hold);
  } catch (error) {
    if (!(error instanceof HelperError)) {
      throw error;
    }
    for (const field of ["ownNetwork", "hostName"] as const) {
      if (confinement[field]) {
        throw new ConfigurationError(
          `bbWorkerNfs4.${field} cannot be had: ${error.message}; run the runner as root with CAP_SYS_ADMIN, or remove it`,
          { cause: error },
        );
      }
    }
    log.warn(ISOLATION_ADVICE, { error: error.message });
    hold = holdOf(settings, false);
    shortcomings = await spawner.probe(hold);
  }
  for (const shortcoming of shortcomings) {
    log.warn("commands are held less than they could be", { reason: shortcoming });
  }
  for (const field of WIDENING) {
    const value = confinement[field];
    if (value === true || (Array.isArray(value) && value.length > 0)) {
      log.warn("commands may do more than is safe", { [`bbWorkerNfs4.${field}`]: String(value) });
    }
  }
  return hold;
}

const WIDENING = [
  "additionalCapabilities",
  "additionalSystemCalls",
  "additionalDevices",
  "writablePaths",
  "allowNewPrivileges",
] as const;
