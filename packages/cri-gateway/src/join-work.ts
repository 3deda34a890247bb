/**
 * The work of this key that is under way, else `start` begins it. It outlives those who wait for it: they are told how it ends,
 * and when nobody waits its failure is nobody's.
 */
export function joinWork<T>(
  running: Map<string, Promise<T>>,
  key: string,
  start: () => Promise<T>,
): Promise<T> {
  const there = running.get(key);
  if (there !== undefined) return there;
  const work = start().finally(() => running.delete(key));
  running.set(key, work);
  work.catch(() => undefined); // every client may have left; those who wait are told
  return work;
}
