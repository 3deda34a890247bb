import { once } from "node:events";
import { createSocket } from "node:dgram";
import type { Socket as DatagramSocket } from "node:dgram";
import { connect, isIP } from "node:net";
import type { Socket } from "node:net";
import { dirname, join } from "node:path";
import type { Duplex } from "node:stream";
import { TrineError, messageOf, withDeadline } from "@trine/base";
import { createCriClient } from "@trine/containerd-client";
import { Pen } from "@trine/machine-talk";
import type { FoundMachine } from "./door-machines.ts";

const CONNECT_MS = 10_000;
/** Of a datagram's length before it. */
const HEADER_BYTES = 2;
const MAX_QUEUED_BYTES = 1 << 20;

/** One end of a stream that is open: joined with the caller's, or closed when that never comes. */
export interface OpenStream {
  join(caller: Duplex): void;
  close(): void;
}

/** Console: input is taken while nobody else has taken the console over. */
export async function openConsole(
  { control }: FoundMachine,
  { take }: { readonly take: boolean },
): Promise<OpenStream> {
  const path = control.consoleSocket;
  const socket = await connected(path, "console");
  let caller: Duplex | undefined;
  let pen: Pen | undefined;
  try {
    pen = await Pen.join(join(dirname(path), "pens"), take ? "take" : "write", ({ writes }) => {
      // Who took it over from there has it: this one is over, as KubeVirt's is.
      if (!writes) caller?.destroy();
    });
    if (!pen.writes) throw new TrineError("conflict", "another has the console");
  } catch (cause) {
    socket.destroy();
    await pen?.close();
    throw cause;
  }
  const held = pen;
  socket.on("close", () => void held.close());
  return {
    join: (to) => {
      caller = to;
      joinStreams(to, socket);
    },
    close: () => socket.destroy(),
  };
}

export async function openDisplay({ control }: FoundMachine): Promise<OpenStream> {
  return joined(await connected(control.displaySocket, "display"));
}

/** The stream that a connection of the node's is. */
export function joined(socket: Socket): OpenStream {
  return {
    join: (caller) => {
      joinStreams(caller, socket);
    },
    close: () => socket.destroy(),
  };
}

/** As kubectl port-forward goes: containerd dials in the pod's network, whatever network that is. */
export async function openTcp({ pod, report }: FoundMachine, port: number): Promise<OpenStream> {
  const address = await pod.containerd();
  if (address === "") {
    throw new TrineError("unimplemented", `pod ${report.pod} is not of containerd's CRI`);
  }
  const cri = createCriClient(address);
  try {
    const forward = await cri.portForward(report.sandboxId, { timeoutMs: CONNECT_MS });
    const stream = forward.connect(port);
    stream.on("close", () => {
      forward.close();
      cri.close();
    });
    return {
      join: (caller) => {
        joinStreams(caller, stream);
      },
      close: () => stream.destroy(),
    };
  } catch (cause) {
    cri.close();
    throw cause;
  }
}

/** To the pod's own address: each datagram after its length. */
export async function openUdp({ pod }: FoundMachine, port: number): Promise<OpenStream> {
  const [address] = pod.summary().addresses;
  if (address === undefined) throw new TrineError("wrongState", "the pod has no address");
  const socket = createSocket(isIP(address) === 4 ? "udp4" : "udp6");
  try {
    socket.connect(port, address);
    await withDeadline("udp", CONNECT_MS, once(socket, "connect"));
  } catch (cause) {
    socket.close();
    throw new TrineError("unavailable", messageOf(cause), { cause });
  }
  return {
    join: (caller) => {
      joinDatagrams(caller, socket);
    },
    close: () => socket.close(),
  };
}

async function connected(path: string, what: string): Promise<Socket> {
  const socket = connect({ path, allowHalfOpen: true });
  try {
    await withDeadline(what, CONNECT_MS, once(socket, "connect"));
    return socket;
  } catch (cause) {
    socket.destroy();
    throw new TrineError("wrongState", `${what}: ${messageOf(cause)}`, { cause });
  }
}

/** Both ways, each held back by who reads slowly; an end goes on as an end, a failure ends both. */
function joinStreams(a: Duplex, b: Duplex): void {
  for (const [from, to] of [
    [a, b],
    [b, a],
  ] as const) {
    from.on("error", () => to.destroy());
    from.on("close", () => {
      // What it had sent is on its way still.
      if (!to.writableEnded) to.end();
      if (from.errored !== null || !from.readableEnded) to.destroy();
    });
    from.pipe(to);
  }
}

function joinDatagrams(caller: Duplex, socket: DatagramSocket): void {
  let held = Buffer.alloc(0);
  caller.on("data", (bytes: Buffer) => {
    held = Buffer.concat([held, bytes]);
    while (held.length >= HEADER_BYTES) {
      const end = HEADER_BYTES + held.readUInt16BE();
      if (held.length < end) break;
      socket.send(held.subarray(HEADER_BYTES, end));
      held = held.subarray(end);
    }
  });
  socket.on("message", (message) => {
    // As a network does: who does not read loses them.
    if (caller.writableLength > MAX_QUEUED_BYTES || !caller.writable) return;
    const header = Buffer.alloc(HEADER_BYTES);
    header.writeUInt16BE(message.length);
    caller.write(Buffer.concat([header, message]));
  });
  socket.on("error", () => caller.destroy());
  caller.on("error", () => caller.destroy());
  caller.on("end", () => caller.end());
  caller.on("close", () => socket.close());
}
