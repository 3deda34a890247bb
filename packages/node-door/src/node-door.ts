import type { Duplex } from "node:stream";
import type { DoorEvent } from "./door-event.ts";
import type { GuestFileSystemList, GuestOsInfo, GuestUserList } from "./guest-info.ts";
import type { MachineRef, MachineReport } from "./machine-report.ts";
import type { ImportReport } from "./volume-order.ts";

/** PEM each. */
export interface DoorCredentials {
  /** Of `trine-control` or `trine-virt-api`. */
  readonly certificate: string;
  readonly key: string;
  /** Of the cluster's authority: one certificate or several. */
  readonly authority: string;
}

export interface DoorOptions {
  /** The node's name: its certificate must be `trine-node:NAME`. */
  readonly node: string;
  readonly host: string;
  /** Default 10270. */
  readonly port?: number;
  /** Asked at each connection: certificates change while we run. */
  readonly credentials: () => DoorCredentials;
}

export type MachineVerb = "pause" | "unpause" | "freeze" | "unfreeze" | "softreboot" | "reset";

/** CPUs and memory of a guest. */
export interface MachineSize {
  readonly cpus: number;
  readonly memoryBytes: number;
}

/**
 * One node's door. Every call rejects with kind `unavailable` or `timeout` when the node does not answer, `forbidden`
 * when one side does not accept the other's certificate, `notFound` without such a machine, `conflict` when the pod of that name has
 * another uid, `wrongState` when the machine is in no state for it, `malformed` when the answer makes no sense.
 */
export interface NodeDoor {
  machines(signal?: AbortSignal): Promise<readonly MachineReport[]>;
  machine(ref: MachineRef, signal?: AbortSignal): Promise<MachineReport>;
  /** Connects anew by itself, with back-off, until `signal` aborts or the reader leaves. */
  watch(signal: AbortSignal): AsyncIterable<DoorEvent>;
  /** `unfreezeAfterMs`: of freeze; the node thaws by itself then. Default 5 minutes. */
  act(
    ref: MachineRef,
    verb: MachineVerb,
    options?: { readonly unfreezeAfterMs?: number; readonly signal?: AbortSignal },
  ): Promise<void>;
  /**
   * Gives the guest what it is to have from now on, and waits until it has followed. May be repeated. Kind `wrongState` for what the
   * machine was not started for, `timeout` for a guest that does not follow: it goes back to what it had. Asked by trine-control alone.
   */
  resize(ref: MachineRef, size: MachineSize, signal?: AbortSignal): Promise<void>;
  guestOsInfo(ref: MachineRef, signal?: AbortSignal): Promise<GuestOsInfo>;
  userList(ref: MachineRef, signal?: AbortSignal): Promise<GuestUserList>;
  filesystemList(ref: MachineRef, signal?: AbortSignal): Promise<GuestFileSystemList>;
  /** PNG. */
  screenshot(ref: MachineRef, signal?: AbortSignal): Promise<Uint8Array>;
  /** Bytes of the first serial port. Takes the console from who has it, unless `preserveSession`: kind `conflict` then. */
  console(ref: MachineRef, options?: StreamOptions): Promise<Duplex>;
  /** Bytes of RFB. As `console`. */
  vnc(ref: MachineRef, options?: StreamOptions): Promise<Duplex>;
  /** tcp: bytes, with half-close; udp: each datagram after its length, u16 big-endian. */
  portForward(
    ref: MachineRef,
    to: { readonly port: number; readonly protocol: "tcp" | "udp" },
    signal?: AbortSignal,
  ): Promise<Duplex>;
  /** What the node and its machines use, as Prometheus reads it. */
  metrics(signal?: AbortSignal): Promise<string>;
  /** What the node's imports say of themselves. */
  imports(signal?: AbortSignal): Promise<readonly ImportReport[]>;
  /** To an import that waits for an upload: `UploadFrames`, then its words. */
  upload(ref: MachineRef, container: string, signal?: AbortSignal): Promise<Duplex>;
  close(): void;
}

export interface StreamOptions {
  readonly preserveSession?: boolean;
  readonly signal?: AbortSignal;
}
