/**
 * Puts into use what was plugged into a guest, so many CPUs and no more; answers its CPUs in use, or undefined where nobody
 * answers.
 */
export type Onliner = (cpus: number) => Promise<number | undefined>;

/**
 * The first that answers. For one change of a guest's size: who did not answer is not asked again, for to wait for it at each
 * look would take longer than a change may.
 */
export function firstToAnswer(onliners: readonly Onliner[]): Onliner {
  const left = [...onliners];
  return async (count) => {
    for (let first = left[0]; first !== undefined; first = left[0]) {
      const cpus = await first(count);
      if (cpus !== undefined) return cpus;
      left.shift();
    }
    return undefined;
  };
}
