import { TrineError } from "./trine-error.ts";
import { quote } from "./quote.ts";

const MAX_CPUS = 8192;

/** As cpuset(7) writes it: `0-3,8`; in order, each once. Kind `invalid`. */
export function parseCpuList(list: string): number[] {
  const cpus = new Set<number>();
  for (const part of list.split(",").filter((each) => each !== "")) {
    const [, first = "", last = first] = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(part.trim()) ?? [];
    const [from, to] = [Number(first), Number(last)];
    if (first === "" || from > to || to >= MAX_CPUS) {
      throw new TrineError("invalid", `the cpuset ${quote(list)} is no list of CPUs`);
    }
    for (let cpu = from; cpu <= to; cpu += 1) cpus.add(cpu);
  }
  return [...cpus].sort((one, other) => one - other);
}

/** The same the other way: neighbours as a range. */
export function formatCpuList(cpus: readonly number[]): string {
  const ranges: [first: number, last: number][] = [];
  for (const cpu of [...cpus].sort((one, other) => one - other)) {
    const range = ranges.at(-1);
    if (range !== undefined && cpu <= range[1] + 1) range[1] = cpu;
    else ranges.push([cpu, cpu]);
  }
  return ranges
    .map(([first, last]) => (first === last ? `${first}` : `${first}-${last}`))
    .join(",");
}
