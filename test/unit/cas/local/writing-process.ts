/**
 * Puts entries into the store of a folder for as long as it lives: `writing-process.ts FOLDER`. Tells its parent when it
 * has begun, then now and then how far it is, or why it could not begin.
 */
import { openStore, put } from "./stores.ts";

const [folder] = process.argv.slice(2);
try {
  const store = await openStore(folder!, {
    persistent: { stateDirectoryPath: `${folder}/state`, minimumEpochIntervalMilliseconds: 5 },
  });
  process.send!("open");
  for (let name = 0; ; name = (name + 1) % 1000) {
    await put(store, `${name}`, 1000);
    if (name % 20 === 0) {
      process.send!(name);
      await new Promise(setImmediate);
    }
  }
} catch (error) {
  process.send!((error as Error).message);
  process.disconnect();
}
