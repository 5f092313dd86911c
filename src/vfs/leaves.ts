import {
  type AttributeChanges,
  FileType,
  type SpecialKind,
  type Symlink,
  type Timestamp,
} from "../nfs/file-system.ts";
import type { ContentAccount } from "./content/content-places.ts";
import { Leaf, refuseSize, type TreeContext } from "./node.ts";
import type { Owner } from "./owner.ts";

export class TreeSymlink extends Leaf implements Symlink {
  readonly type = FileType.SYMLINK;
  /** One byte per char: a string is smaller than a buffer, and readlink is rare. */
  readonly #target: string;
  readonly #isInput: boolean;

  /**
   * Symlinks of the input root have a `time`. Others are charged for their target, and may throw DQUOT.
   */
  constructor(
    tree: TreeContext,
    account: ContentAccount,
    target: string,
    mode: number,
    owner: Owner,
    time: Timestamp | undefined,
  ) {
    const isInput = time !== undefined;
    if (!isInput) {
      account.quota.resize(target.length);
    }
    super(tree, account, mode, owner, time);
    this.#target = target;
    this.#isInput = isInput;
    this.attributes().size = target.length;
  }

  get target(): Uint8Array {
    return Buffer.from(this.#target, "latin1");
  }

  protected override nameless(): void {
    super.nameless();
    if (!this.#isInput) {
      this.account.quota.resize(-this.#target.length);
    }
  }

  setAttributes(changes: AttributeChanges): void {
    refuseSize(changes);
    this.applyChanges(changes);
  }
}

/** The {@link SpecialKind} of a device. */
export type DeviceKind = Extract<SpecialKind, { readonly major: number }>;

export class TreeDevice extends Leaf {
  readonly type: DeviceKind["type"];
  readonly major: number;
  readonly minor: number;

  constructor(tree: TreeContext, account: ContentAccount, kind: DeviceKind, mode: number, owner: Owner) {
    super(tree, account, mode, owner, undefined);
    this.type = kind.type;
    this.major = kind.major;
    this.minor = kind.minor;
  }

  setAttributes(changes: AttributeChanges): void {
    refuseSize(changes);
    this.applyChanges(changes);
  }
}

/** A FIFO or a socket. */
export class TreePipe extends Leaf {
  readonly type: typeof FileType.FIFO | typeof FileType.SOCKET;

  constructor(
    tree: TreeContext,
    account: ContentAccount,
    type: typeof FileType.FIFO | typeof FileType.SOCKET,
    mode: number,
    owner: Owner,
  ) {
    super(tree, account, mode, owner, undefined);
    this.type = type;
  }

  setAttributes(changes: AttributeChanges): void {
    refuseSize(changes);
    this.applyChanges(changes);
  }
}
