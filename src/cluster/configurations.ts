import type { MessageInitShape } from "@bufbuild/protobuf";
import { create, toJsonString } from "@bufbuild/protobuf";
import type { PlatformSchema } from "../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { ApplicationConfigurationSchema as RunnerConfigurationSchema } from "../proto/gen/buildbarn/configuration/bb_runner/bb_runner_pb.ts";
import { ApplicationConfigurationSchema as WorkerConfigurationSchema } from "../proto/gen/buildbarn/configuration/bb_worker/bb_worker_pb.ts";

/** One runner process, and the worker threads that send it actions. */
export interface RunnerPool {
  /** Names the pool in worker ids and file names. */
  readonly name: string;
  /** How many actions run at the same time. */
  readonly concurrency: number;
  readonly platform: MessageInitShape<typeof PlatformSchema>;
  /** Whether an action sees its input root as its whole file system. */
  readonly chrootIntoInputRoot: boolean;
}

export interface WorkerPlaces {
  /** Where the worker finds scheduler and storage, as gRPC clients write addresses. */
  readonly serverAddress: string;
  /** Where build directories are mounted; absolute. */
  readonly mountPath: string;
  /** A folder for what actions write. */
  readonly filePoolPath: string;
  /** Where a pool's runner listens: a socket's absolute path. */
  readonly runnerSocket: (pool: RunnerPool) => string;
  /** Where the worker serves its diagnostics, "HOST:PORT"; absent if it does not. */
  readonly diagnostics?: string | undefined;
}

/** What the worker host is told, as JSON. */
export interface WorkerHostSettings {
  /** Configuration files. */
  readonly worker: string;
  readonly runners: readonly string[];
  /** Where the lifeline is to be connected to: a socket's path, or host and port. */
  readonly lifeline: { readonly path: string } | { readonly host: string; readonly port: number };
  /** The network device that has to be set up first, and its address. */
  readonly network?: { readonly device: string; readonly address: string };
}

const CHARACTER_DEVICES = ["full", "null", "random", "tty", "urandom", "zero"];
const FILE_POOL_FILES = 1_000_000n;
const FILE_POOL_BYTES = 64n * 1024n ** 3n;
/** Of the file pool, for one action. Its outputs should fit into the storage. */
const ACTION_BYTES = 16n * 1024n ** 3n;

/** The JSON text of a configuration for bb_worker. */
export function workerConfiguration(pools: readonly RunnerPool[], places: WorkerPlaces): string {
  const client = { address: places.serverAddress };
  const blobAccess = { backend: { case: "grpc" as const, value: { client, enableCompression: false } } };
  return toJsonString(
    WorkerConfigurationSchema,
    create(WorkerConfigurationSchema, {
      scheduler: client,
      blobstore: { contentAddressableStorage: blobAccess, actionCache: blobAccess },
      filePool: {
        backend: {
          case: "blockDevice",
          value: {
            source: { case: "file", value: { path: places.filePoolPath, sizeBytes: FILE_POOL_BYTES } },
          },
        },
      },
      buildDirectories: [
        {
          backend: {
            case: "virtual",
            value: {
              mount: {
                mountPath: places.mountPath,
                backend: {
                  case: "nfsv4",
                  value: { operatingSystem: { case: "linux", value: {} } },
                },
              },
            },
          },
          runners: pools.map((pool) => ({
            endpoint: { address: `unix:${places.runnerSocket(pool)}` },
            concurrency: BigInt(pool.concurrency),
            platform: pool.platform,
            workerId: { pool: pool.name },
            maximumFilePoolFileCount: FILE_POOL_FILES,
            maximumFilePoolSizeBytes: ACTION_BYTES,
            inputRootCharacterDeviceNodes: pool.chrootIntoInputRoot ? CHARACTER_DEVICES : [],
          })),
        },
      ],
      ...(places.diagnostics !== undefined && {
        global: {
          diagnosticsHttpServer: {
            httpServers: [
              {
                listenAddresses: [places.diagnostics],
                authenticationPolicy: { policy: { case: "allow", value: {} } },
              },
            ],
            enablePrometheus: true,
            enableActiveSpans: true,
            enablePprof: true,
          },
        },
      }),
    }),
    { prettySpaces: 2 },
  );
}

/** The JSON text of a configuration for the pool's bb_runner. */
export function runnerConfiguration(pool: RunnerPool, places: WorkerPlaces): string {
  return toJsonString(
    RunnerConfigurationSchema,
    create(RunnerConfigurationSchema, {
      buildDirectoryPath: places.mountPath,
      grpcServers: [
        {
          listenPaths: [places.runnerSocket(pool)],
          authenticationPolicy: { policy: { case: "allow", value: {} } },
        },
      ],
      chrootIntoInputRoot: pool.chrootIntoInputRoot,
    }),
    { prettySpaces: 2 },
  );
}
