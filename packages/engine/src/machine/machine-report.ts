import { isIP } from "node:net";
import type { MachinePhase, MachineReport } from "@trine/node-door";
import { bindingOf } from "../guest-side.ts";
import type { PodContext } from "../pod-context.ts";
import { interfacesOf } from "../pod-document.ts";
import type { MachineRecord } from "../pod-document.ts";
import type { GuestNic, GuestSaid } from "./guest-watch.ts";

const PANIC = "guest-panic";

/** What is known from elsewhere. */
interface Known {
  readonly said: GuestSaid;
  readonly overheadBytes: number;
  readonly diskBytes: ReadonlyMap<string, number>;
  /** Why the VMM has stopped the guest, by itself; undefined: it has not. */
  readonly halted: string | undefined;
  /** Of keys and passwords that the guest's users are to have; undefined: there are none. */
  readonly credentials: MachineReport["credentials"];
  /** When this daemon first saw the machine: of one that an older daemon started. */
  readonly seen: string;
}

/** A machine as the node tells it to the control plane. Nothing is asked for it. */
export function reportOf(pod: PodContext, record: MachineRecord, known: Known): MachineReport {
  const { identity } = pod;
  const { spec, end } = record;
  const { cpus, memoryBytes } = record.size ?? spec;
  const { cores = 1, threads = 1 } = spec.hardware?.topology ?? {};
  return {
    namespace: identity.podNamespace,
    pod: identity.name,
    uid: identity.uid,
    sandboxId: identity.sandboxId,
    phase: phaseOf(record, known.halted),
    since: record.since ?? known.seen,
    ...reasonOf(record, known.halted),
    accelerator: spec.accelerator,
    cpus: { sockets: Math.max(1, Math.floor(cpus / (cores * threads))), cores, threads },
    memory: { guestBytes: memoryBytes, overheadBytes: known.overheadBytes },
    interfaces: interfacesOfGuest(pod, record, known.said.nics),
    agent: known.said.agent,
    ...(known.credentials === undefined ? {} : { credentials: known.credentials }),
    disks: spec.disks.map(({ name, path }) => {
      const bytes = known.diskBytes.get(name);
      return { name, path, ...(bytes === undefined ? {} : { bytes }) };
    }),
    ...(end?.reason === PANIC ? { panic: "the guest's kernel has panicked" } : {}),
  };
}

function reasonOf(
  { state, end }: MachineRecord,
  halted: string | undefined,
): { readonly reason?: string } {
  if (end !== undefined) return { reason: end.reason ?? `exit status ${end.status}` };
  return halted === undefined || state === "paused" ? {} : { reason: halted };
}

function phaseOf({ state, end }: MachineRecord, halted: string | undefined): MachinePhase {
  switch (state) {
    case "paused":
      return "paused";
    case "running":
    case "stopping": // it runs until it has ended
      return halted === undefined ? "running" : "paused";
    case "ended":
      return end?.status === 0 ? "stopped" : "failed";
    default:
      return "starting";
  }
}

/** The pod's, in their order, then what the guest has made itself. */
function interfacesOfGuest(
  { document }: PodContext,
  { spec }: MachineRecord,
  nics: readonly GuestNic[] = [],
): MachineReport["interfaces"] {
  const ours = interfacesOf(document).map((each, index) => {
    const mac = (spec.nics[index]?.mac ?? each.mac).toLowerCase();
    const nic = nics.find((found) => found.mac === mac);
    const given = each.addresses.map(({ address }) => address);
    const named = { name: each.name, mac, ...(nic === undefined ? {} : { guestName: nic.name }) };
    // Behind masquerade and passt the guest may say an address that nobody else can use.
    const isPods = ["tap", "macvtap"].includes(bindingOf(document, each));
    return nic === undefined || !isPods || nic.addresses.length === 0
      ? { ...named, addresses: given, fromGuest: false }
      : { ...named, addresses: inOrder(nic.addresses, given), fromGuest: true };
  });
  const known = new Set(ours.map(({ mac }) => mac));
  const others = nics.flatMap(({ name, mac, addresses }) =>
    mac === undefined || known.has(mac)
      ? []
      : [{ name: "", mac, addresses: inOrder(addresses, []), fromGuest: true, guestName: name }],
  );
  return [...ours, ...others].slice(0, 64);
}

/** The pod's own first, then IPv4, then IPv6, link-local ones last. */
function inOrder(addresses: readonly string[], pods: readonly string[]): string[] {
  const rank = (address: string): number => {
    if (pods.includes(address)) return isIP(address) === 4 ? 0 : 1;
    if (address.startsWith("fe80:")) return 4;
    return isIP(address) === 4 ? 2 : 3;
  };
  return [...addresses].sort((a, b) => rank(a) - rank(b));
}
