import type { BlobServer, Route } from "../../cas/blob-server.ts";
import type { Combination } from "../../cas/combined/combination.ts";
import type { LocalStoreOptions } from "../../cas/local/options.ts";
import type { BlobAccessConfiguration } from "../../proto/gen/buildbarn/configuration/blobstore/blobstore_pb.ts";
import type { FieldPath } from "../field-path.ts";

/** Which of the stores a backend is of; not every kind of backend makes sense for all. */
export type Store = "contentAddressableStorage" | "actionCache" | "fileSystemAccessCache";

/** What was found so far. A route names servers and combinations by index. */
export interface BackendParts {
  readonly servers: BlobServer[];
  readonly combinations: Combination[];
  blobCache: LocalStoreOptions | undefined;
}

/** Where in the configuration a backend stands, and what enclosing ones say of it. */
export interface Place {
  readonly path: FieldPath;
  readonly store: Store;
  readonly parts: BackendParts;
  /** What enclosing backends say about all the servers in them. */
  readonly decorations: Omit<BlobServer, "endpoint" | "compression">;
  /** The backends that enclosing `withLabels` name. */
  readonly labels: ReadonlyMap<string, Route>;
  /** Makes the backend at another place. */
  routeTo(configuration: BlobAccessConfiguration | undefined, place: Place): Route;
}
