/** Whose a node is. */
export interface Owner {
  readonly userId: number;
  readonly groupId: number;
}
