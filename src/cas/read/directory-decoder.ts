import { Code } from "../../proto/gen/google/rpc/code_pb.ts";
import { BlobError, blobName } from "../../reapi/blob-error.ts";
import { type Digest, makeDigest } from "../../reapi/digest.ts";
import type { InputDirectory, InputFile, InputSubdirectory, InputSymlink } from "../input-source.ts";

const MAXIMUM_NAME_BYTES = 255;
/** PATH_MAX without its NUL. */
const MAXIMUM_TARGET_BYTES = 4095;

/** Wire types of the protobuf encoding. */
const VARINT = 0;
const FIXED64 = 1;
const LENGTH_DELIMITED = 2;
const FIXED32 = 5;

/**
 * Decodes a REAPI Directory message straight into what the tree needs, without the generated code's objects, as a
 * root may have hundreds of thousands of entries. Node properties are skipped. Digests take the instance name and
 * function of the directory's own digest.
 *
 * Throws {@link BlobError} INVALID_ARGUMENT for bytes that are no such message, for a name that no file can have,
 * and for one that occurs twice.
 */
export function decodeDirectory(digest: Digest, message: Uint8Array): InputDirectory {
  const decoder = new DirectoryDecoder(digest, message);
  try {
    return decoder.directory();
  } catch (error) {
    throw new BlobError(
      Code.INVALID_ARGUMENT,
      `directory ${blobName(digest)}: ${(error as Error).message}`,
      digest,
      { cause: error },
    );
  }
}

/** Reads the fields of a message, and of those nested in it, up to their ends. All methods throw Error. */
class DirectoryDecoder {
  readonly #bytes: Uint8Array;
  /** The bytes as chars, made once: slices of it are much cheaper than strings made one by one. */
  readonly #text: string;
  readonly #digest: Digest;
  #position = 0;

  constructor(digest: Digest, message: Uint8Array) {
    this.#digest = digest;
    this.#bytes = message;
    this.#text = Buffer.from(message.buffer, message.byteOffset, message.length).toString("latin1");
  }

  directory(): InputDirectory {
    const files: InputFile[] = [];
    const directories: InputSubdirectory[] = [];
    const symlinks: InputSymlink[] = [];
    const end = this.#bytes.length;
    while (this.#position < end) {
      const tag = this.#varint(end);
      if (tag === ((1 << 3) | LENGTH_DELIMITED)) {
        files.push(this.#file(this.#length(end)));
      } else if (tag === ((2 << 3) | LENGTH_DELIMITED)) {
        directories.push(this.#subdirectory(this.#length(end)));
      } else if (tag === ((3 << 3) | LENGTH_DELIMITED)) {
        symlinks.push(this.#symlink(this.#length(end)));
      } else {
        this.#skip(tag, end);
      }
    }
    checkNoNameTwice(files, directories, symlinks);
    return { files, directories, symlinks };
  }

  #file(end: number): InputFile {
    let name = "";
    let digest: Digest | undefined;
    let isExecutable = false;
    while (this.#position < end) {
      const tag = this.#varint(end);
      if (tag === ((1 << 3) | LENGTH_DELIMITED)) {
        name = this.#string(end);
      } else if (tag === ((2 << 3) | LENGTH_DELIMITED)) {
        digest = this.#digestMessage(this.#length(end));
      } else if (tag === ((4 << 3) | VARINT)) {
        isExecutable = this.#varint(end) !== 0;
      } else {
        this.#skip(tag, end);
      }
    }
    return { name: checkName(name), digest: digest ?? missing(name), isExecutable };
  }

  #subdirectory(end: number): InputSubdirectory {
    let name = "";
    let digest: Digest | undefined;
    while (this.#position < end) {
      const tag = this.#varint(end);
      if (tag === ((1 << 3) | LENGTH_DELIMITED)) {
        name = this.#string(end);
      } else if (tag === ((2 << 3) | LENGTH_DELIMITED)) {
        digest = this.#digestMessage(this.#length(end));
      } else {
        this.#skip(tag, end);
      }
    }
    return { name: checkName(name), digest: digest ?? missing(name) };
  }

  #symlink(end: number): InputSymlink {
    let name = "";
    let target = "";
    while (this.#position < end) {
      const tag = this.#varint(end);
      if (tag === ((1 << 3) | LENGTH_DELIMITED)) {
        name = this.#string(end);
      } else if (tag === ((2 << 3) | LENGTH_DELIMITED)) {
        target = this.#string(end);
      } else {
        this.#skip(tag, end);
      }
    }
    if (target === "" || target.length > MAXIMUM_TARGET_BYTES || target.includes("\0")) {
      throw new Error(`symlink ${JSON.stringify(name)} has a target that no symlink can have`);
    }
    return { name: checkName(name), target };
  }

  #digestMessage(end: number): Digest {
    const { instanceName, function: digestFunction } = this.#digest;
    let hash = "";
    let sizeBytes = 0;
    let isHexadecimal = false;
    while (this.#position < end) {
      const tag = this.#varint(end);
      if (tag === ((1 << 3) | LENGTH_DELIMITED)) {
        hash = this.#string(end);
        isHexadecimal = this.#isHexadecimal(this.#position - hash.length, this.#position);
      } else if (tag === ((2 << 3) | VARINT)) {
        sizeBytes = this.#varint(end);
      } else {
        this.#skip(tag, end);
      }
    }
    if (
      isHexadecimal &&
      hash.length === digestFunction.hashBytes * 2 &&
      sizeBytes <= Number.MAX_SAFE_INTEGER
    ) {
      return { instanceName, function: digestFunction, hash, sizeBytes };
    }
    // Throws an error that says what is wrong with it.
    return makeDigest(instanceName, digestFunction, hash, sizeBytes);
  }

  /** Whether all bytes are lower-case hexadecimal digits; several times as fast as a regular expression. */
  #isHexadecimal(start: number, end: number): boolean {
    const bytes = this.#bytes;
    for (let index = start; index < end; index++) {
      const byte = bytes[index]!;
      if (!((byte >= 0x30 && byte <= 0x39) || (byte >= 0x61 && byte <= 0x66))) {
        return false;
      }
    }
    return true;
  }

  /** One byte per char. */
  #string(limit: number): string {
    const end = this.#length(limit);
    const string = this.#text.slice(this.#position, end);
    this.#position = end;
    return string;
  }

  /** Reads a length; returns the position at which the bytes that it counts end. */
  #length(limit: number): number {
    const length = this.#varint(limit);
    // A length that is no safe integer fails this, too.
    if (!(length <= limit - this.#position)) {
      throw new Error("a field is longer than its message");
    }
    return this.#position + length;
  }

  /** An unsigned varint of up to 64 bits. Above 2^53 it is not exact; its users refuse or ignore such numbers. */
  #varint(limit: number): number {
    let value = 0;
    let scale = 1;
    for (let count = 0; count < 10; count++) {
      if (this.#position >= limit) {
        throw new Error("a field is cut short");
      }
      const byte = this.#bytes[this.#position++]!;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) {
        return value;
      }
      scale *= 128;
    }
    throw new Error("a number has more than 64 bits");
  }

  /** Skips a field that is of no interest here. */
  #skip(tag: number, limit: number): void {
    if (tag < 8) {
      throw new Error("a field has the number 0");
    }
    switch (tag % 8) {
      case VARINT:
        this.#varint(limit);
        return;
      case LENGTH_DELIMITED:
        this.#position = this.#length(limit);
        return;
      case FIXED64:
        this.#position += 8;
        break;
      case FIXED32:
        this.#position += 4;
        break;
      default:
        throw new Error(`a field has the wire type ${tag % 8}, which REAPI has no use for`);
    }
    if (this.#position > limit) {
      throw new Error("a field is cut short");
    }
  }
}

function checkName(name: string): string {
  if (
    name === "" ||
    name === "." ||
    name === ".." ||
    name.length > MAXIMUM_NAME_BYTES ||
    name.includes("/") ||
    name.includes("\0")
  ) {
    throw new Error(`${JSON.stringify(name.slice(0, 300))} is not a name that a file can have`);
  }
  return name;
}

function missing(name: string): never {
  throw new Error(`${JSON.stringify(name)} has no digest`);
}

interface Named {
  readonly name: string;
}

/**
 * REAPI wants each list sorted: then it is enough to compare neighbours, and to walk through two lists side by
 * side. Lists that are not sorted by bytes, as from clients that compare UTF-16, cost a set.
 */
function checkNoNameTwice(...lists: readonly (readonly Named[])[]): void {
  const filled = lists.filter((list) => list.length > 0);
  if (filled.every(isStrictlyRising)) {
    for (const [index, list] of filled.entries()) {
      for (const other of filled.slice(index + 1)) {
        checkDisjoint(list, other);
      }
    }
    return;
  }
  const names = new Set<string>();
  for (const list of filled) {
    for (const { name } of list) {
      if (names.has(name)) {
        throw occursTwice(name);
      }
      names.add(name);
    }
  }
}

function isStrictlyRising(list: readonly Named[]): boolean {
  for (let index = 1; index < list.length; index++) {
    if (list[index - 1]!.name >= list[index]!.name) {
      return false;
    }
  }
  return true;
}

function checkDisjoint(left: readonly Named[], right: readonly Named[]): void {
  for (let i = 0, j = 0; i < left.length && j < right.length; ) {
    const a = left[i]!.name;
    const b = right[j]!.name;
    if (a === b) {
      throw occursTwice(a);
    }
    if (a < b) {
      i++;
    } else {
      j++;
    }
  }
}

function occursTwice(name: string): Error {
  return new Error(`the name ${JSON.stringify(name)} occurs twice`);
}
