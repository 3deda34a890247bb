import { kindOf, messageOf } from "@trine/base";
import type { Duplex } from "node:stream";
import type { VirtApiDeps } from "../deps.ts";
import type { Target } from "../http/target.ts";
import { Refusal, badRequest, internalError } from "../refusals/refusal.ts";
import { atNode } from "../subresources/at-node.ts";
import type { Call } from "../subresources/call.ts";
import { requireDisplay, requireNetwork, requireSerial } from "../subresources/display.ts";
import { getInstance, instanceOf } from "../subresources/objects.ts";

/** Bytes of a machine on their way to a client. */
export interface OpenStream {
  readonly stream: Duplex;
  /** `datagrams`: each after its length (u16, big-endian). */
  readonly carries: "bytes" | "datagrams";
  /** Whether the client is asked for a sign of life. */
  readonly pings: boolean;
}

export type Open = (deps: VirtApiDeps, call: Call) => Promise<OpenStream>;

const openConsole: Open = async (deps, { target, signal }) => {
  const instance = await getInstance(deps, target, signal);
  requireSerial(instance);
  const { door, ref } = await atNode(deps, instance, signal);
  const stream = await door.console(ref, { signal }).catch(failed);
  return { stream, carries: "bytes", pings: false };
};

const openVnc: Open = async (deps, { target, query, signal }) => {
  const instance = await getInstance(deps, target, signal);
  requireDisplay(instance);
  const preserveSession = query.get("preserveSession") === "true";
  const { door, ref } = await atNode(deps, instance, signal);
  const stream = await door.vnc(ref, { preserveSession, signal }).catch(failed);
  return { stream, carries: "bytes", pings: false };
};

const openPortForward: Open = async (deps, { target, signal }) => {
  const to = forwardTarget(target);
  const instance = await instanceOf(deps, target, signal);
  requireNetwork(instance);
  const { door, ref } = await atNode(deps, instance, signal);
  const stream = await door.portForward(ref, to, signal).catch((cause: unknown) => {
    throw internalError(`dialing VM: ${messageOf(cause)}`, { cause });
  });
  return { stream, carries: to.protocol === "udp" ? "datagrams" : "bytes", pings: true };
};

/** `{port}` or `{port}/{protocol}`. */
function forwardTarget({ rest }: Target): { port: number; protocol: "tcp" | "udp" } {
  const [digits = "", protocol = "tcp", ...more] = rest;
  if (digits === "") throw badRequest("port must not be empty");
  const port = /^\d{1,5}$/.test(digits) ? Number(digits) : 0;
  if (port < 1 || port > 65_535) throw badRequest(`invalid port ${digits.slice(0, 20)}`);
  if ((protocol !== "tcp" && protocol !== "udp") || more.length > 0) {
    throw badRequest(`unknown protocol ${[protocol, ...more].join("/").slice(0, 20)}`);
  }
  return { port, protocol };
}

/** A node that does not open a stream is a failure behind us, also where another client has it (KubeVirt's 500). */
function failed(cause: unknown): never {
  if (cause instanceof Refusal || kindOf(cause) === "canceled") throw cause;
  throw internalError(messageOf(cause), { cause });
}

/** What becomes a stream, by `RESOURCE/SUBRESOURCE`. */
export const STREAMS: ReadonlyMap<string, Open> = new Map([
  ["virtualmachineinstances/console", openConsole],
  ["virtualmachineinstances/vnc", openVnc],
  ["virtualmachineinstances/portforward", openPortForward],
  ["virtualmachines/portforward", openPortForward],
]);
