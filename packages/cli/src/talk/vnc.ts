import { spawn } from "node:child_process";
import { once } from "node:events";
import { access, open, rename, rm } from "node:fs/promises";
import { connect, createServer } from "node:net";
import type { Socket } from "node:net";
import { delimiter, join } from "node:path";
import { TrineError, abortable, messageOf, withDeadline } from "@trine/base";
import { takePicture, toPng } from "@trine/machine-talk";
import type { Io } from "../io.ts";
import { NodeClient } from "../node/node-client.ts";
import { listen } from "./listen.ts";

const PICTURE_MS = 30_000;
const MAX_CONNECTIONS = 16;

export interface VncFlags {
  /** 0 = any that is free. */
  readonly port: number;
  readonly address: string;
  readonly viewer: boolean;
  readonly screenshot?: string;
}

interface Viewer {
  readonly path: string;
  readonly at: (host: string, port: number) => string;
}

/** In the order in which they are looked for, and how each is told where to go. */
const VIEWERS: readonly Viewer[] = [
  { path: "remote-viewer", at: (host, port) => `vnc://${host}:${port}` },
  { path: "vncviewer", at: (host, port) => `${host}::${port}` },
  { path: "gvncviewer", at: (host, port) => `${host}:${port - 5900}` },
  { path: "vinagre", at: (host, port) => `vnc://${host}:${port}` },
];

/** `trine vnc POD`: opens a viewer where there is one, else a port here until ^C; or takes a picture. */
export async function showDisplay(io: Io, name: string, flags: VncFlags): Promise<void> {
  const socketPath = await displayOf(io, name);
  if (flags.screenshot !== undefined) {
    await takeScreenshot(io, socketPath, flags.screenshot);
    return;
  }
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    carry(socket, socketPath, sockets);
  });
  server.maxConnections = MAX_CONNECTIONS;
  try {
    const port = await listen(server, flags.port, flags.address);
    const viewer = flags.viewer ? await findViewer() : undefined;
    if (viewer === undefined) {
      const shown = flags.address.includes(":") ? `[${flags.address}]` : flags.address;
      io.stdout.write(`vnc://${shown}:${port}\n`);
      io.stderr.write("^C ends it.\n");
      await abortable("interrupted", io.signal, new Promise<never>(() => undefined));
    } else {
      await runViewer(io, viewer.path, viewer.at(flags.address, port));
    }
  } finally {
    server.close();
    for (const socket of sockets) socket.destroy();
  }
}

async function displayOf(io: Io, wanted: string): Promise<string> {
  const { machine, name } = await new NodeClient(io).pod(wanted);
  if (machine?.pid === undefined) {
    throw new TrineError("wrongState", `pod ${name} has no machine that runs`);
  }
  if (machine.vncSocket !== undefined) return machine.vncSocket;
  const advice = 'the annotation trine.dev/display: "on" gives it one';
  throw new TrineError("wrongState", `the machine of pod ${name} has no display: ${advice}`);
}

/** One viewer's connection to the display. */
function carry(viewer: Socket, path: string, sockets: Set<Socket>): void {
  const display = connect(path);
  for (const [from, to] of [
    [viewer, display],
    [display, viewer],
  ] as const) {
    sockets.add(from);
    from.on("close", () => {
      sockets.delete(from);
      to.destroy();
    });
    from.on("error", () => undefined); // its end follows
    from.pipe(to);
  }
}

/** Without a screen of our own no viewer would open. */
async function findViewer(): Promise<Viewer | undefined> {
  if (process.env["DISPLAY"] === undefined && process.env["WAYLAND_DISPLAY"] === undefined) {
    return undefined;
  }
  for (const { path: name, at } of VIEWERS) {
    for (const dir of (process.env["PATH"] ?? "").split(delimiter)) {
      const path = join(dir, name);
      const there = await access(path).then(
        () => true,
        () => false,
      );
      if (dir !== "" && there) return { path, at };
    }
  }
  return undefined;
}

async function runViewer(io: Io, path: string, target: string): Promise<void> {
  const child = spawn(path, [target], { stdio: ["ignore", "ignore", "pipe"], signal: io.signal });
  let words = "";
  child.stderr.on("data", (chunk: Buffer) => (words = (words + chunk.toString()).slice(-500)));
  const [code] = (await once(child, "close").catch((cause: unknown) => {
    if (io.signal.aborted) throw new TrineError("canceled", "interrupted", { cause });
    throw new TrineError("internal", `${path}: ${messageOf(cause)}`, { cause });
  })) as [number | null];
  if (code === 0) return;
  throw new TrineError("internal", `${path} ended with ${code ?? "a signal"}: ${words.trim()}`);
}

/** The file is whole or not there; - is standard output. */
async function takeScreenshot(io: Io, socketPath: string, file: string): Promise<void> {
  const socket = connect(socketPath);
  let png: Buffer;
  try {
    await once(socket, "connect", { signal: io.signal });
    png = toPng(await withDeadline("the picture", PICTURE_MS, takePicture(socket)));
  } catch (cause) {
    if (io.signal.aborted) throw new TrineError("canceled", "interrupted", { cause });
    throw TrineError.during("screenshot", cause);
  } finally {
    socket.destroy();
  }
  if (file === "-") {
    io.stdout.write(png);
    return;
  }
  const fresh = `${file}.${process.pid}.new`;
  try {
    await using out = await open(fresh, "wx", 0o600);
    await out.writeFile(png);
    await rename(fresh, file);
  } catch (cause) {
    await rm(fresh, { force: true });
    throw new TrineError("invalid", `${file}: ${messageOf(cause)}`, { cause });
  }
}
