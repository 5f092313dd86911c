/** Limits on what clients can make a server hold, and so on its memory; see `docs/nfs4-server-ts.md`. */
export interface Limits {
  /**
   * Connections served at a time. To make room for another, the oldest that has never sent a request is closed, or
   * else the oldest that has been silent for a lease time; failing both, the new one is. Default 256.
   */
  maximumConnections: number;
  /**
   * Client records. To make room for another, the oldest unconfirmed one ends, or else one whose lease has run out;
   * failing both, the new client gets NFS4ERR_DELAY. Default 4096.
   */
  maximumClients: number;
  /** Beyond it, NFS4ERR_NOSPC. Default 16. */
  maximumSessionsPerClient: number;
  /** Requests that a session may have under way; a session's slots keep up to 8 KiB each. Default 128. */
  maximumSlots: number;
  /**
   * Opens, lock owners with their files, and delegations; some 500 bytes each. Beyond it, NFS4ERR_DELAY, or in
   * NFSv4.0 NFS4ERR_RESOURCE. Default 262144.
   */
  maximumStatesPerClient: number;
  /** Locked byte ranges; the same statuses beyond it. Default 65536. */
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
