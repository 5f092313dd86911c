import type { InputSource } from "../../cas/input-source.ts";
import type { Digest } from "../../reapi/digest.ts";
import type { ActionBlobAccess } from "../action/action-blob-access.ts";
import type { ExecutionStage } from "../scheduler/build-client.ts";

/** Something that an action needs done by others. */
export interface ActionPart {
  /** "fetch" and "upload" are of a blob; "record" is of the result, into the action cache. */
  readonly kind: "fetch" | "upload" | "record";
  /** Where it is known. */
  readonly digest?: Digest | undefined;
  /** Of an output, below the action's working directory. */
  readonly path?: string | undefined;
}

/** Is told what an action does. */
export interface ActionObserver {
  /** Ends the stage before. */
  enter(stage: ExecutionStage): void;
  endStage(): void;
  /** The action waits for the part until the promise settles. */
  waitsFor(part: ActionPart, settled: Promise<unknown>): void;
  /** An upload of so many bytes has ended well. */
  uploaded?(bytes: number): void;
}

/** Tells all of them. */
export function together(observers: readonly ActionObserver[]): ActionObserver {
  const each = (tell: (observer: ActionObserver) => void) => observers.forEach(tell);
  return {
    enter: (stage) => each((observer) => observer.enter(stage)),
    endStage: () => each((observer) => observer.endStage()),
    waitsFor: (part, settled) => each((observer) => observer.waitsFor(part, settled)),
    uploaded: (bytes) => each((observer) => observer.uploaded?.(bytes)),
  };
}

/** Blob access of which the observer is told. */
export function observedBlobAccess(base: ActionBlobAccess, observer: ActionObserver): ActionBlobAccess {
  const observed = <T>(part: ActionPart, settled: Promise<T>): Promise<T> => {
    observer.waitsFor(part, settled);
    return settled;
  };
  return {
    command: (digest, signal) => observed({ kind: "fetch", digest }, base.command(digest, signal)),
    outputUploader: (action, signal) => {
      const uploader = base.outputUploader(action, signal);
      return {
        ...uploader,
        uploadFile: async (file, path) => {
          const digest = await observed({ kind: "upload", path }, uploader.uploadFile(file, path));
          observer.uploaded?.(digest.sizeBytes);
          return digest;
        },
        uploadBytes: async (digest, bytes) => {
          await observed({ kind: "upload", digest }, uploader.uploadBytes(digest, bytes));
          observer.uploaded?.(bytes.length);
        },
      };
    },
    updateActionResult: (action, result, signal) =>
      observed({ kind: "record" }, base.updateActionResult(action, result, signal)),
    uploadNew: async (digest, bytes, signal) => {
      await observed({ kind: "upload", digest }, base.uploadNew(digest, bytes, signal));
      observer.uploaded?.(bytes.length);
    },
  };
}

/** The same for the directories of the input root that the worker itself needs. */
export function observedInputs(
  base: Pick<InputSource, "directory">,
  observer: ActionObserver,
): Pick<InputSource, "directory"> {
  return {
    directory: (digest) => {
      const directory = base.directory(digest);
      if (directory instanceof Promise) {
        observer.waitsFor({ kind: "fetch", digest }, directory);
      }
      return directory;
    },
  };
}
