/** Whose a node is. */
export interface Owner {
  readonly userId: number;
  readonly groupId: number;
}

/** Owns the inputs, which all actions share. */
export const ROOT: Owner = { userId: 0, groupId: 0 };
