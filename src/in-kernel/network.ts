/** What `isolated.ts` and the programs that it starts inside agree on. */

/** This machine, as seen from inside: port N reaches the N-th of the sockets that `isolated.ts` was given. */
export const HOST_ADDRESS = "10.0.2.1";
/** What is inside, as seen from this machine's relays: port N is the N-th of those that `isolated.ts` serves. */
export const GUEST_ADDRESS = "10.0.2.2";
/** The network device inside, and the address that it has to be given there. */
export const GUEST_NETWORK = { device: "vec0", address: `${GUEST_ADDRESS}/30` };
