import { createServer } from "node:net";
import type { Server, Socket } from "node:net";
import { TrineError, abortable, messageOf } from "@trine/base";
import type { CriClient } from "@trine/containerd-client";
import { withCri } from "../connect.ts";
import type { Io } from "../io.ts";
import { listen } from "./listen.ts";
import { findPod } from "../pods/select-pods.ts";
import { printable } from "../output/table.ts";

const MAX_CONNECTIONS = 256;

export interface PortPair {
  /** 0 = any that is free. */
  readonly local: number;
  readonly remote: number;
}

/** `8080`, `8080:80`, `:80`; undefined for others. */
export function parsePortPair(text: string): PortPair | undefined {
  const match = /^(?:(\d{0,5}):)?(\d{1,5})$/.exec(text);
  if (match === null) return undefined;
  const remote = Number(match[2]);
  const local = match[1] === undefined ? remote : Number(match[1]);
  const valid = remote > 0 && remote < 65_536 && local < 65_536;
  return valid ? { local, remote } : undefined;
}

/** `trine port-forward POD PORT...`: until ^C. */
export function forwardPorts(
  io: Io,
  name: string,
  pairs: readonly PortPair[],
  { address }: { readonly address: string },
): Promise<void> {
  return withCri(io, async (cri) => {
    const view = await findPod(cri, name, io.signal);
    if (!view.ready) throw new TrineError("wrongState", `pod ${view.name} is not running`);
    const servers: Server[] = [];
    const sockets = new Set<Socket>();
    try {
      for (const { local, remote } of pairs) {
        const server = createServer((socket) => {
          sockets.add(socket);
          socket.on("close", () => sockets.delete(socket));
          void carry(io, cri, { socket, sandboxId: view.sandboxId, port: remote });
        });
        server.maxConnections = MAX_CONNECTIONS;
        servers.push(server);
        const port = await listen(server, local, address);
        const shown = address.includes(":") ? `[${address}]` : address;
        io.stdout.write(`Forwarding ${shown}:${port} -> ${remote}\n`);
      }
      await abortable("interrupted", io.signal, new Promise<never>(() => undefined));
    } finally {
      for (const server of servers) server.close();
      for (const socket of sockets) socket.destroy();
    }
  });
}

interface Carried {
  readonly socket: Socket;
  readonly sandboxId: string;
  readonly port: number;
}

/** One connection, with a session of its own: none waits for another. */
async function carry(io: Io, cri: CriClient, { socket, sandboxId, port }: Carried): Promise<void> {
  const fail = (cause: unknown): void => {
    if (!io.signal.aborted)
      io.stderr.write(`trine: port ${port}: ${printable(messageOf(cause))}\n`);
    socket.destroy();
  };
  socket.on("error", () => {
    socket.destroy();
  });
  try {
    const forward = await cri.portForward(sandboxId, { signal: io.signal });
    const stream = forward.connect(port);
    stream.on("error", fail);
    stream.on("close", () => {
      socket.end();
    });
    socket.on("close", () => {
      stream.destroy();
      forward.close();
    });
    socket.pipe(stream).pipe(socket);
  } catch (cause) {
    fail(cause);
  }
}
