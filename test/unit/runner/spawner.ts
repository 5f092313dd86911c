import { after } from "node:test";
import { Spawner } from "../../../src/runner/spawn/spawner.ts";

/** For the tests of a file; closed when they have ended. */
export const spawner = new Spawner();

after(() => spawner[Symbol.asyncDispose]());
