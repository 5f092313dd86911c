import assert from "node:assert/strict";
import { it } from "node:test";
import { MemoryFileSystem } from "../../../../src/nfs/index.ts";
import { expose } from "../../../../src/telemetry/metrics/exposition.ts";
import { Metrics } from "../../../../src/telemetry/metrics/metrics.ts";
import { observeNfs } from "../../../../src/worker/telemetry/nfs-metrics.ts";
import { name } from "../../nfs/client.ts";
import { serve } from "../../nfs/fixture.ts";
import { parseExposition } from "../../telemetry/metrics/parse-exposition.ts";

it("operations of all mounts show by status, minor version and duration; what waits is held back", async (t) => {
  const fileSystem = new MemoryFileSystem({ rootMode: 0o777 });
  const arrival = Promise.withResolvers<void>();
  const waiting = { ...asks(fileSystem), refresh: () => arrival.promise };
  const servers = [await serve(t), await serve(t, { fileSystem: waiting })];
  const metrics = new Metrics();
  observeNfs(metrics, () => servers.map(({ server }) => server.statistics()));
  const exposition = expose(metrics);
  const read = async () => {
    const families = parseExposition(await exposition.text());
    return (sample: string, labels: Readonly<Record<string, string>> = {}) =>
      [...families.values()]
        .flatMap(({ samples }) => samples)
        .filter(
          (each) =>
            each.name === sample &&
            Object.entries(labels).every(([label, value]) => each.labels[label] === value),
        )
        .reduce((sum, { value }) => sum + value, 0);
  };

  const session = await servers[0]!.session();
  await session.call([["PUTROOTFH"], ["LOOKUP", name("nothing")]]);
  const other = await servers[1]!.session();
  const answer = other.call([["PUTROOTFH"], ["LOOKUP", name("nothing")]]);
  let value = await read();
  while (value("bb_worker_nfs4_nfs_held_replies") === 0) {
    await new Promise(setImmediate);
    value = await read();
  }
  assert.equal(value("bb_worker_nfs4_nfs_held_replies"), 1);
  assert.ok(value("bb_worker_nfs4_nfs_held_replies_total") > 0);
  arrival.resolve();
  await answer;

  value = await read();
  assert.equal(value("bb_worker_nfs4_nfs_held_replies"), 0);
  assert.ok(value("bb_worker_nfs4_nfs_held_seconds_total") > 0);
  const lookups = { operation: "OP_LOOKUP", status: "NFS4ERR_NOENT" };
  assert.equal(value("buildbarn_nfsv4_program_compound_operations_total", lookups), 2);
  assert.equal(value("bb_worker_nfs4_nfs_operations_total", { ...lookups, minor_version: "0" }), 0);
  assert.equal(
    value("bb_worker_nfs4_nfs_operations_total", { operation: "OP_PUTROOTFH", status: "NFS4_OK" }),
    2,
  );
  assert.ok(
    value("bb_worker_nfs4_nfs_operation_duration_seconds_count", { operation: "OP_LOOKUP" }) >= 1,
    "what waited is timed",
  );
  assert.equal(value("bb_worker_nfs4_nfs_connections"), 2);
});

/** A file system's own functions, without the class around them. */
function asks(fileSystem: MemoryFileSystem) {
  return {
    root: fileSystem.root,
    resolve: (handle: Uint8Array) => fileSystem.resolve(handle),
    statistics: () => fileSystem.statistics(),
  };
}
