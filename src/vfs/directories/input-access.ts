import type { Name } from "../../nfs/file-system.ts";
import type { CasDirectory } from "./cas-directory.ts";

/**
 * What an action has looked at in a directory of its input root, and below it: the directories whose entries were
 * asked for, and the files that were looked up by name. What the client reads of a file it knows from elsewhere never
 * reaches the tree, so a look-up counts as reading; one for the attributes alone does, too. Names are those of the
 * input root, wherever the action moves things.
 */
export class InputAccess {
  readonly name: Name;
  readonly #parent: InputAccess | undefined;
  readonly #directories: InputAccess[] = [];
  #files: Set<Name> | undefined;
  #subdirectoryCount = 0;
  #isRead = false;

  /** Without arguments: of an input root. */
  constructor(name: Name = "", parent?: InputAccess) {
    this.name = name;
    this.#parent = parent;
  }

  get isRead(): boolean {
    return this.#isRead;
  }

  /** Those below that were read. */
  get directories(): readonly InputAccess[] {
    return this.#directories;
  }

  get files(): Iterable<Name> {
    return this.#files ?? [];
  }

  /** How many directories it has, once it {@link isRead}. */
  get subdirectoryCount(): number {
    return this.#subdirectoryCount;
  }

  noteRead(directory: CasDirectory): void {
    if (this.#isRead) {
      return;
    }
    this.#isRead = true;
    this.#subdirectoryCount = directory.subdirectories.length;
    if (this.#parent !== undefined) {
      this.#parent.#directories.push(this);
    }
  }

  noteFile(name: Name): void {
    this.#files ??= new Set();
    this.#files.add(name);
  }
}
