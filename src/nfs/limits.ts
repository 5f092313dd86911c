/** What clients may make a server hold. Memory for all of it is bounded by these; see `docs/nfs4-server-ts.md`. */
export interface Limits {
  /**
   * Connections served at a time. For one more, the oldest goes that has sent no request yet, or else none for a
   * lease time; where there is none, the new one is closed. Default 256.
   */
  maximumConnections: number;
  /**
   * Client records. For one more, the oldest goes that was not confirmed, or else one whose lease ran out; where
   * there is none, the new client gets NFS4ERR_DELAY. Default 4096.
   */
  maximumClients: number;
  /** For one more, NFS4ERR_NOSPC. Default 16. */
  maximumSessionsPerClient: number;
  /** Requests that a session may have under way; a session's slots keep up to 8 KiB each. Default 128. */
  maximumSlots: number;
  /**
   * Opens, lock owners with their files, and delegations; some 500 bytes each. For one more, NFS4ERR_DELAY, or
   * in NFSv4.0 NFS4ERR_RESOURCE. Default 262144.
   */
  maximumStatesPerClient: number;
  /** Byte ranges that are locked; the same. Default 65536. */
  maximumLocksPerClient: number;
}

export const DEFAULT_LIMITS: Limits = {
  maximumConnections: 256,
  maximumClients: 4096,
  maximumSessionsPerClient: 16,
  maximumSlots: 128,
  maximumStatesPerClient: 262_144,
  maximumLocksPerClient: 65_536,
};
