/**
 * Waits until all of it has ended, well or not, then rejects with the first failure in the order given. Where what is
 * done is undone when a part fails, no part may still be at work.
 */
export async function allDone(work: readonly Promise<unknown>[]): Promise<void> {
  const ends = await Promise.allSettled(work);
  for (const end of ends) if (end.status === "rejected") throw end.reason;
}
