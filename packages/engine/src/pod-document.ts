import { TrineError } from "@trine/base";
import type { Binding, HiddenGuest, PodInterface } from "@trine/pod-network";
import type { MachineSpec, SlotName } from "@trine/vmm";
import type { DiskRoot } from "./guest/disk-root-record.ts";
import type { VolumeRecord } from "./guest/volume-record.ts";
import type { GuestStart } from "./guest/guest-start.ts";
import type { PasstRecord } from "./machine/passt-record.ts";
import type { GivenCredentials } from "./machine/credential-steps.ts";
import type { MachineState } from "./machine/machine-state.ts";

/**
 * What the daemon knows of a pod, kept by the pod's shim (PutState): it lives and dies with the pod.
 * JSON. Fields this version does not know are carried along unchanged.
 */
export interface PodDocument {
  readonly version: 1;
  /** The pod's primary interface as CNI left it; its addresses are the guest's from then on. */
  network?: PodInterface;
  /** Its further ones, in the guest's order; absent in the documents of older daemons. */
  otherNetworks?: readonly PodInterface[];
  /** How the guest has them, by name; "*" = the rest. Absent = as a tap. */
  bindings?: Readonly<Record<string, Binding>>;
  /** What is said of guests behind the pod's addresses, by the interface's name. */
  hidden?: Readonly<Record<string, HiddenGuest>>;
  /** Of the guest's first card; absent = the pod's. */
  guestMac?: string;
  /** MACs of IPv6 gateways by the interface's name, where the guest has to be told of them. */
  routerMacs?: Readonly<Record<string, string>>;
  /** Of each of the guest's taps; absent = 1. */
  queues?: number;
  /** Level vm: ordinary containers have the pod's network beside the machine. */
  shared?: true;
  /** Level vm: the container that was found to be the machine; it stays so when it starts anew. */
  machineName?: string;
  /** Level vm: the container that is a machine, and its execs. */
  machine?: MachineRecord;
  execs: Record<string, ExecRecord>;
  /** Level microvm: the machine the pod's containers run in. */
  guest?: GuestRecord;
  /** Level microvm: a guest that was there before the pod. Becomes `guest`, or is ended. */
  spare?: SpareRecord;
}

/** The interfaces of the pod and so of its guest, the primary one first. */
export function interfacesOf({
  network,
  otherNetworks = [],
}: Pick<PodDocument, "network" | "otherNetworks">): readonly PodInterface[] {
  return network === undefined ? [] : [network, ...otherNetworks];
}

/** A guest made before there was a pod for it. */
export interface SpareRecord {
  /** Its directory's name while it was nobody's. */
  readonly name: string;
  /** `spareKey` of when it was made. */
  readonly key: string;
  /** `booting` until its pod has revived it. */
  readonly guest: GuestRecord;
}

export interface GuestSize {
  readonly cpus: number;
  readonly memoryBytes: number;
}

/** A VMM and what it was started from. */
export interface VmmRecord {
  /** The task that ends with it; empty = none. */
  readonly taskId: string;
  readonly uid: number;
  readonly oomScoreAdj: number;
  /** Changed only before the VMM runs: a clone that does not start boots instead. */
  spec: MachineSpec;
  /** Process id of the VMM once started. */
  vmmPid?: number;
}

export interface MachineRecord extends VmmRecord {
  /** What its guest has by now; absent = what it began with. */
  size?: GuestSize;
  /** What carries its first interface, where that is bound so. */
  readonly passt?: PasstRecord;
  /** Of its container after a change; absent = those it was made with. */
  limits?: ContainerLimits;
  readonly bundle: string;
  readonly containerName: string;
  state: MachineState;
  /** When it came to that state, RFC 3339; absent in the documents of older daemons. */
  since?: string;
  /** How its VMM ended: its task's exit status, and why as the VMM said. */
  end?: { readonly status: number; readonly reason?: string };
  /** When the guest's file systems are thawed, whatever happens, RFC 3339; absent = they are not frozen. */
  frozenUntil?: string;
  /** The agent that holds them; absent in the documents of older daemons. */
  frozenBy?: "qemu" | "trine";
  /** What the guest's users were given while it ran; absent = nothing. */
  credentials?: GivenCredentials;
  /** Until then a guest that powers itself off begins anew, RFC 3339; absent = its machine ends. */
  rebootUntil?: string;
  /** It has powered itself off for that, and needs no button any more; goes with `rebootUntil`. */
  rebootOff?: true;
}

export interface GuestRecord extends VmmRecord {
  /** preparing: directories and helpers · booting: its VMM runs · running: its agent has answered · ended */
  state: "preparing" | "booting" | "running" | "ended";
  /** What the pod is to have; its machine may be smaller at first. Absent in the documents of older daemons. */
  size?: GuestSize;
  /** Its size before a change that its guest has not followed yet, maybe: what its containers' limits go by still. */
  formerSize?: GuestSize;
  /** How it came up; absent in the documents of older daemons, whose guests all booted. */
  start?: GuestStart;
  /** Slots that a block volume is or was in: the guest knows them by its size. */
  volumeSlots?: readonly SlotName[];
  /** Slots that something in the guest did not let go of. */
  lostSlots?: readonly SlotName[];
  /** Containers of the pod by containerd's id. */
  readonly containers: Record<string, ContainerRecord | undefined>;
}

/** A container in the guest. Its execs need no record: the shim and the guest know them by name. */
export interface ContainerRecord {
  readonly name: string;
  /** Its root on disks of the guest; undefined = through the share. Written down before a slot is filled. */
  readonly root?: DiskRoot;
  /** Its block volumes on disks of the guest; written down before a slot is filled. */
  readonly volumes?: readonly VolumeRecord[];
  /** What is mounted for it on the host, in the order it was mounted; written down before it is. */
  readonly mounts: readonly ShareMount[];
  /** As far as it has any: what it was made with, or the last change. */
  limits?: ContainerLimits;
  /** creating: some of its mounts, maybe the guest's container · created, running, paused: as the guest has it */
  state: "creating" | "created" | "running" | "paused" | "ended";
}

/** A container's limits; what is not there is not limited. `cpus` may be a fraction. */
export interface ContainerLimits {
  readonly memoryBytes?: number;
  readonly cpus?: number;
  /** What `cpus` is measured in where that is not 100 ms: a quota that changes alone is one of this. */
  readonly periodUs?: number;
}

/** A place below the pod's share, where something of the host is mounted for the guest. */
export interface ShareMount {
  readonly target: string;
  readonly kind: "directory" | "file";
}

/** An exec through the guest agent. `id` in the guest's protocol is `exec-KEY`. */
export interface ExecRecord {
  readonly argv: readonly string[];
  readonly env: readonly string[];
  /** added: known · sent: the agent may have it · running: `guestPid` is known · ended */
  phase: "added" | "sent" | "running" | "ended";
  guestPid?: number;
}

const EMPTY_DOCUMENT: PodDocument = { version: 1, execs: {} };

export function encodeDocument(document: PodDocument): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(document));
}

/** Kind `unimplemented` for a document of a newer daemon than this one. */
export function decodeDocument(bytes: Uint8Array): PodDocument {
  if (bytes.length === 0) return structuredClone(EMPTY_DOCUMENT);
  const value = JSON.parse(new TextDecoder().decode(bytes)) as PodDocument;
  if ((value.version as number) !== 1) {
    throw new TrineError(
      "unimplemented",
      `the pod's document has version ${value.version}, this daemon reads 1: run the newer daemon`,
    );
  }
  return value;
}
