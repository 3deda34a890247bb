/** Ticks of a second: USER_HZ is 100 on every Linux. */
export const TICKS_PER_SECOND = 100;

/** User and system time in ticks, of /proc/PID/stat (proc_pid_stat(5)); undefined for what is none. */
export function processorTicks(
  stat: string,
): { readonly user: number; readonly system: number } | undefined {
  // The name in parentheses may hold anything; utime and stime are the 12th and 13th fields after it.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const [user = "", system = ""] = fields.slice(11, 13);
  if (!/^\d+$/.test(user) || !/^\d+$/.test(system)) return undefined;
  return { user: Number(user), system: Number(system) };
}
