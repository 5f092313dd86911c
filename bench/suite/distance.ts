import { Transform } from "node:stream";
import { setTimeout } from "node:timers/promises";

/** How far away the storage seems to be. May be changed, for what is sent from then on. */
export class Distance {
  /** Of each byte's way from the storage to its client. */
  latencyMilliseconds = 0;
  /** Of all connections together. */
  bytesPerSecond = Number.POSITIVE_INFINITY;
  /** When what was sent so far is through the line, as of `performance.now()`. */
  #lineFree = 0;

  /** Passes on, late and in order, what the storage sends over one connection. */
  line(): Transform {
    let onTheirWay = 0;
    let last = Promise.resolve();
    const line = new Transform({
      transform: (data: Buffer, _encoding, done) => {
        const milliseconds = this.#millisecondsOf(data.length);
        if (milliseconds === 0 && onTheirWay === 0) {
          done(null, data);
          return;
        }
        const arrival = setTimeout(milliseconds);
        onTheirWay++;
        last = last
          .then(() => arrival)
          .then(() => {
            onTheirWay--;
            line.push(data);
          });
        done();
      },
      flush(done) {
        last.then(() => done());
      },
    });
    return line;
  }

  #millisecondsOf(bytes: number): number {
    const now = performance.now();
    this.#lineFree = Math.max(now, this.#lineFree) + (bytes / this.bytesPerSecond) * 1000;
    return this.#lineFree + this.latencyMilliseconds - now;
  }
}
