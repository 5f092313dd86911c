/** A thread for the transfer pool that dies as often as its task says, and counts that where the test sees it. */
export default async function die({
  task: { deaths, times },
}: {
  task: { deaths: Int32Array; times: number };
}): Promise<unknown> {
  if (Atomics.add(deaths, 0, 1) < times) {
    process.exit(1);
  }
  return { result: "survived", messages: 0 };
}
