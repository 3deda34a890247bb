import type { CPU } from "@trine/kube-types";
import type { PreferenceSpec } from "./specs.ts";

export type Axis = "sockets" | "cores" | "threads";

/** How the processors of an instance type become sockets, cores and threads. */
export type Topology =
  | { readonly all: Axis }
  /** Any axis counts; sockets are made. */
  | { readonly all: "any" }
  | { readonly across: string; readonly over: readonly Axis[]; readonly ratio: number };

const RATIO = 2;
const THREADS = 2;

/** By what `spreadOptions.across` names. */
const SPREADS: Readonly<Record<string, readonly Axis[]>> = {
  SocketsCores: ["sockets", "cores"],
  CoresThreads: ["cores", "threads"],
  SocketsCoresThreads: ["sockets", "cores", "threads"],
};

const ALL: Readonly<Record<string, Axis | "any">> = {
  cores: "cores",
  preferCores: "cores",
  threads: "threads",
  preferThreads: "threads",
  any: "any",
  preferAny: "any",
};

/** What a preference wants; sockets where it says nothing, as KubeVirt does. */
export function topologyOf(preference: PreferenceSpec | undefined): Topology {
  const { preferredCPUTopology: wanted = "sockets", spreadOptions = {} } = preference?.cpu ?? {};
  if (wanted !== "spread" && wanted !== "preferSpread") return { all: ALL[wanted] ?? "sockets" };
  const { across = "SocketsCores" } = spreadOptions;
  const old = preference?.preferSpreadSocketToCoreRatio ?? 0;
  const ratio = spreadOptions.ratio ?? (old === 0 ? RATIO : old);
  const over = SPREADS[across] ?? ["sockets", "cores"];
  return { across, over, ratio: Math.max(ratio, 1) };
}

/** `count` processors in the form that is wanted. A count that the ratio does not divide was refused before. */
export function spread(count: number, topology: Topology): Required<Pick<CPU, Axis>> {
  const one = { sockets: 1, cores: 1, threads: 1 };
  if (count <= 1) return one;
  if ("all" in topology) {
    return { ...one, [topology.all === "any" ? "sockets" : topology.all]: count };
  }
  const { over, ratio } = topology;
  if (over.length === 3) {
    return { sockets: Math.floor(count / THREADS / ratio), cores: ratio, threads: THREADS };
  }
  const [outer = "sockets", inner = "cores"] = over;
  return { ...one, [outer]: Math.floor(count / ratio), [inner]: ratio };
}

/** Why `count` processors cannot be spread so, in KubeVirt's words; undefined when they can. */
export function unevenSpread(count: number, topology: Topology): string | undefined {
  if ("all" in topology) return undefined;
  const { over, ratio } = topology;
  const provided = `${count} vCPUs provided by the instance type are not divisible by the`;
  const name = "Spec.PreferSpreadSocketToCoreRatio or Spec.CPU.PreferSpreadOptions.Ratio of";
  const threads = "number of threads per core";
  if (over.length === 3) {
    if (count % THREADS === 0 && (count / THREADS) % ratio === 0) return undefined;
    return `${provided} ${threads} ${THREADS} and ${name} ${ratio}`;
  }
  if (count % ratio === 0) return undefined;
  if (over[0] === "cores") return `${provided} ${threads} ${ratio}`;
  return `${provided} ${name} ${ratio} provided by the preference`;
}
