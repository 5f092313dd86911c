import { count, duration } from "../../telemetry/page/format.ts";
import type { Html } from "../../telemetry/page/html.ts";
import { health, table } from "../../telemetry/page/parts.ts";
import type { BuildDirectoryServer } from "../build-directory/build-directory-server.ts";
import type { NativeBuildDirectory } from "../native/native-build-directory.ts";

interface Row {
  readonly path: string;
  readonly kind: string;
  readonly problem: string | undefined;
  readonly served?: ReturnType<BuildDirectoryServer["statistics"]>;
}

/** The build directories: what is mounted, and what is on a disk. */
export function mountsContent(
  mounts: readonly BuildDirectoryServer[],
  native: readonly NativeBuildDirectory[],
): Html {
  const rows: Row[] = [
    ...mounts.map((mount) => ({
      path: mount.mountPath,
      kind: `NFS ${mount.nfsVersion}`,
      problem: mount.problem,
      served: mount.statistics(),
    })),
    ...native.map(({ path }) => ({ path, kind: "hard links", problem: undefined })),
  ];
  const number = (heading: string, of: (served: NonNullable<Row["served"]>) => string) => ({
    heading,
    isNumber: true,
    cell: ({ served }: Row) => served && of(served),
  });
  return table(
    "Build directories",
    [
      { heading: "Path", cell: ({ path }) => path },
      { heading: "Kind", cell: ({ kind }) => kind },
      { heading: "State", cell: ({ problem }) => health(problem) },
      number("Connections", ({ connections }) => count(connections)),
      number("Opens, locks, delegations", ({ states }) => count(states)),
      number("Replies held back now", ({ held }) => count(held)),
      number(
        "Held back so far",
        ({ heldTotal, heldSeconds }) => `${count(heldTotal)}, together for ${duration(heldSeconds * 1000)}`,
      ),
    ],
    rows,
    "There are none.",
  );
}
