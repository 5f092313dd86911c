/** Puts entries into the store of a folder, some of which cannot be written, and tells its parent what is there. */
import { contentFor, get, openStore, put } from "./stores.ts";

const [folder] = process.argv.slice(2);
const store = await openStore(folder!);
const names = Array.from({ length: 60 }, (_, name) => `${name}`);
const kept: string[] = [];
for (const name of names) {
  if (await put(store, name, 1000)) {
    kept.push(name);
  }
}
let right = 0;
for (const name of kept) {
  right += (await get(store, name, 1000))?.equals(contentFor(name, 1000)) ? 1 : 0;
}
await store.close();
process.send!({ kept: kept.length, refused: names.length - kept.length, right });
process.disconnect();
