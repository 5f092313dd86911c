/** What Node's sockets cost alone: messages of the sizes in load.c, without looking into them. Prints its ports. */
import { type AddressInfo, createServer, type Socket } from "node:net";

const SIZE = 200;
const DATA = 1024 * 1024;

const small = record(SIZE);
const large = record(SIZE + DATA);

function record(length: number): Buffer {
  const bytes = Buffer.alloc(length);
  bytes.writeUInt32BE((0x8000_0000 | (length - 4)) >>> 0);
  return bytes;
}

/** Answers each `request` bytes with `reply`. */
function exchange(request: number, reply: Buffer): (socket: Socket) => void {
  return (socket) => {
    let pending = 0;
    socket.on("data", (chunk) => {
      pending += chunk.length;
      socket.cork();
      for (; pending >= request; pending -= request) {
        socket.write(reply);
      }
      socket.uncork();
    });
    socket.on("error", () => {});
  };
}

const servers = [
  createServer({ noDelay: true }, (socket) => {
    socket.on("data", (chunk) => socket.write(chunk));
    socket.on("error", () => {});
  }),
  createServer({ noDelay: true }, exchange(SIZE, large)),
  createServer({ noDelay: true }, exchange(SIZE + DATA, small)),
];
const ports: number[] = [];
for (const server of servers) {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  ports.push((server.address() as AddressInfo).port);
}
console.log(ports.join(" "));
