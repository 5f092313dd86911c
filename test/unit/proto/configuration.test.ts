import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { fromJson } from "@bufbuild/protobuf";
import { ApplicationConfigurationSchema as WorkerConfigurationSchema } from "../../../src/proto/gen/buildbarn/configuration/bb_worker/bb_worker_pb.ts";

describe("bb_worker's configuration", () => {
  it("is read as Buildbarn's users write it", () => {
    const { buildDirectories, global } = fromJson(WorkerConfigurationSchema, {
      blobstore: { contentAddressableStorage: { grpc: { client: { address: "storage:8981" } } } },
      global: { setResourceLimits: { NOFILE: { softLimit: "1024" } } },
      buildDirectories: [
        {
          virtual: {
            mount: {
              mountPath: "/worker/build",
              nfsv4: { linux: { mountOptions: ["vers=4.1"] }, enforcedLeaseTime: "120s" },
            },
            maximumExecutionTimeoutCompensation: "3600s",
          },
          runners: [{ concurrency: "8", workerId: { pod: "a" }, inputRootCharacterDeviceNodes: ["null"] }],
        },
      ],
    });
    const [directory] = buildDirectories;
    assert.equal(directory?.runners[0]?.concurrency, 8n);
    assert.equal(global?.setResourceLimits.NOFILE?.softLimit, 1024n);
    const backend =
      directory?.backend.case === "virtual" ? directory.backend.value.mount?.backend : undefined;
    assert.equal(backend?.case, "nfsv4");
    assert.equal(backend?.case === "nfsv4" && backend.value.enforcedLeaseTime?.seconds, 120n);
    const system = backend?.case === "nfsv4" ? backend.value.operatingSystem : undefined;
    assert.deepEqual(system?.case === "linux" && system.value.mountOptions, ["vers=4.1"]);
  });

  it("names a field it does not know", () => {
    assert.throws(
      () => fromJson(WorkerConfigurationSchema, { buildDirectories: [{ nativ: {} }] }),
      /BuildDirectoryConfiguration.*"nativ" is unknown/,
    );
  });
});
