import { BlockList, isIP, isIPv6 } from "node:net";

const MAXIMUM_PORT_BYTE = 255;

/**
 * The port of a TCP address as ONC RPC writes it (RFC 5665 §5.2): "h1.h2.h3.h4.p1.p2" for netid tcp, "x:…:x.p1.p2" for
 * tcp6. undefined if it is neither, or names a host other than `host`.
 */
export function portAt(host: string, netid: string, address: string): number | undefined {
  const match = /^(.+)\.(\d{1,3})\.(\d{1,3})$/.exec(address);
  if (match === null || (netid !== "tcp" && netid !== "tcp6")) {
    return undefined;
  }
  const named = match[1]!;
  const high = Number(match[2]);
  const low = Number(match[3]);
  if (high > MAXIMUM_PORT_BYTE || low > MAXIMUM_PORT_BYTE || (high === 0 && low === 0)) {
    return undefined;
  }
  if (isIP(named) === 0 || isIPv6(named) !== (netid === "tcp6")) {
    return undefined;
  }
  return isSameHost(host, named) ? high * 256 + low : undefined;
}

/** The same IPv6 address can be written in many ways. */
function isSameHost(one: string, other: string): boolean {
  if (isIP(one) === 0) {
    return false;
  }
  const family = (address: string) => (isIPv6(address) ? "ipv6" : "ipv4");
  const hosts = new BlockList();
  hosts.addAddress(one, family(one));
  return hosts.check(other, family(other));
}
