import type { XdrReader } from "../../xdr/index.ts";
import type { State } from "./records.ts";

/** A stateid4 as it was read, and what it stands for. One per compound, reused. */
export class StateidArgument {
  seqid = 0;
  word0 = 0;
  word1 = 0;
  word2 = 0;
  /** Once resolved: the state, or undefined for the anonymous and the bypass stateid. */
  state: State | undefined;

  read(reader: XdrReader): void {
    this.seqid = reader.uint32();
    this.word0 = reader.uint32();
    this.word1 = reader.uint32();
    this.word2 = reader.uint32();
    this.state = undefined;
  }

  /** Whether it is the anonymous or the READ bypass stateid (RFC 8881 §8.2.3). */
  get isSpecial(): boolean {
    const { seqid, word0, word1, word2 } = this;
    if (seqid === 0) {
      return word0 === 0 && word1 === 0 && word2 === 0;
    }
    const ones = 0xffff_ffff;
    return seqid === ones && word0 === ones && word1 === ones && word2 === ones;
  }

  /** Whether it stands for the current stateid (RFC 8881 §8.2.3). */
  get isCurrent(): boolean {
    return this.seqid === 1 && this.word0 === 0 && this.word1 === 0 && this.word2 === 0;
  }
}
