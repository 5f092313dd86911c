/** A test that fails here although it passes elsewhere, and why that stays so. */
export interface KnownFailure {
  readonly suite: string;
  readonly test: RegExp;
  readonly reason: string;
}

export const KNOWN_FAILURES: readonly KnownFailure[] = [];
