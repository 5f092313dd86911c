import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { ConfigurationError } from "../../../src/config/error.ts";
import { loadConfiguration } from "../../../src/config/load-configuration.ts";
import { ApplicationConfigurationSchema } from "../../../src/proto/gen/buildbarn/configuration/bb_worker/bb_worker_pb.ts";

describe("loadConfiguration", () => {
  let folder: string;
  before(() => {
    folder = mkdtempSync(join(tmpdir(), "configuration-"));
  });
  after(() => rmSync(folder, { recursive: true }));

  const load = (text: string, environment: NodeJS.ProcessEnv = {}, name = "worker.jsonnet") => {
    const path = join(folder, name);
    writeFileSync(path, text);
    return loadConfiguration(path, ApplicationConfigurationSchema, environment);
  };
  const refuses = (text: string, message: RegExp) =>
    assert.throws(
      () => load(text),
      (error: unknown) => {
        assert.ok(error instanceof ConfigurationError);
        assert.match(error.message, message);
        return true;
      },
    );

  it("evaluates Jsonnet with imports beside the file and the environment as external variables", () => {
    writeFileSync(join(folder, "common.libsonnet"), "{ size: '16777216', host: std.extVar('SCHEDULER') }");
    const configuration = load(
      `local common = import 'common.libsonnet';
       { maximumMessageSizeBytes: common.size, scheduler: { address: common.host + ':8983' } }`,
      { SCHEDULER: "schédule" },
    );
    assert.equal(configuration.maximumMessageSizeBytes, 16777216n);
    assert.equal(configuration.scheduler?.address, "schédule:8983");
  });

  it("reads camelCase and original names, durations and 64-bit numbers", () => {
    const configuration = load(`{
      output_upload_concurrency: 11,
      buildDirectories: [{ virtual: { maximumExecutionTimeoutCompensation: '3600.5s' } }],
    }`);
    assert.equal(configuration.outputUploadConcurrency, 11n);
    const { backend } = configuration.buildDirectories[0]!;
    assert.equal(backend.case, "virtual");
    assert.deepEqual(
      [
        (backend.value as { maximumExecutionTimeoutCompensation: { seconds: bigint; nanos: number } })
          .maximumExecutionTimeoutCompensation.seconds,
      ],
      [3600n],
    );
  });

  it("names an unknown field by file and path, and the fields there are", () => {
    refuses(
      `{ buildDirectories: [{ runners: [{}, { concurency: 8 }] }] }`,
      /worker\.jsonnet: buildDirectories\[0\]\.runners\[1\]\.concurency: there is no such field.*concurrency/,
    );
  });

  it("names a value of the wrong kind by its path", () => {
    refuses(`{ buildDirectories: [{ runners: [{ concurrency: 'many' }] }] }`, /runners\[0\]\.concurrency: /);
    refuses(
      `{ buildDirectories: [{ virtual: { maximumExecutionTimeoutCompensation: '1h' } }] }`,
      /virtual\.maximumExecutionTimeoutCompensation: /,
    );
    refuses(`{ buildDirectories: [{ runners: [{ workerId: { a: 3 } }] }] }`, /runners\[0\]\.workerId: /);
    refuses(
      `{ buildDirectories: [{ runners: [{ costsPerSecond: { cpu: { price: 3 } } }] }] }`,
      /costsPerSecond\["cpu"\]\.price: there is no such field/,
    );
    refuses(`[]`, /the configuration: /);
  });

  it("names everything that is wrong at once", () => {
    refuses(
      `{ browserURL: 5, buildDirectories: [{ runners: [{ concurrency: 'x', sizeclass: 1 }] }, { mount: {} }] }`,
      /worker\.jsonnet: browserURL: .*\n.*runners\[0\]\.concurrency: .*\n.*runners\[0\]\.sizeclass: .*\n.*Directories\[1\]\.mount: /,
    );
  });

  it("passes on Jsonnet's own errors with their position", () => {
    refuses(`{ browserUrl: std.extVar('NO_SUCH_VARIABLE') }`, /NO_SUCH_VARIABLE[\s\S]*worker\.jsonnet:1/);
    refuses(`{ browserUrl: `, /worker\.jsonnet:1/);
  });

  it("says which file cannot be read", () => {
    assert.throws(
      () => loadConfiguration(join(folder, "none.jsonnet"), ApplicationConfigurationSchema),
      /none\.jsonnet/,
    );
  });
});
