import { TrineError } from "@trine/base";
import type { PodInterface } from "@trine/pod-network";
import type { MachineSpec } from "@trine/vmm";
import type { MachineState } from "./machine-state.ts";

/**
 * What the daemon knows of a pod, kept by the pod's shim (PutState): it lives and dies with the pod.
 * JSON. Fields this version does not know are carried along unchanged.
 */
export interface PodDocument {
  readonly version: 1;
  /** The pod's interface as CNI left it; its address is the guest's from then on. */
  network?: PodInterface;
  machine?: MachineRecord;
  execs: Record<string, ExecRecord>;
}

export interface MachineRecord {
  readonly taskId: string;
  readonly bundle: string;
  readonly containerName: string;
  readonly uid: number;
  readonly oomScoreAdj: number;
  readonly spec: MachineSpec;
  state: MachineState;
  /** Process id of the VMM once started. */
  vmmPid?: number;
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
