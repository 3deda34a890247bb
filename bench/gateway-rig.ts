// A containerd, a gateway before it in its own process, a bare proxy of node:http2 in another, and a client of raw gRPC to each.
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { TrineError } from "@trine/base";
import { RawClient } from "@trine/cri-gateway/testing";
import { busyboxImage, startContainerd } from "@trine/testkit";
import type { Containerd, TestImage } from "@trine/testkit";

export type Way = "direct" | "gateway" | "bare";
export const WAYS: readonly Way[] = ["direct", "gateway"];
/** With what a relay of node:http2 cannot do without (bare-proxy.ts). */
export const ALL_WAYS: readonly Way[] = [...WAYS, "bare"];

export class GatewayRig {
  readonly containerd: Containerd;
  readonly image: TestImage;
  readonly clients: Readonly<Record<Way, RawClient>>;
  /** Of what answers in each way. */
  readonly pids: Readonly<Record<Way, number>>;
  /** The gateway's. */
  readonly socket: string;
  readonly #dir: string;
  readonly #children: ChildProcess[];

  private constructor(parts: {
    dir: string;
    containerd: Containerd;
    image: TestImage;
    gateway: ChildProcess;
    bare: ChildProcess;
    socket: string;
    bareSocket: string;
  }) {
    this.#dir = parts.dir;
    this.containerd = parts.containerd;
    this.image = parts.image;
    this.#children = [parts.gateway, parts.bare];
    this.socket = parts.socket;
    this.pids = {
      direct: parts.containerd.pid ?? 0,
      gateway: parts.gateway.pid ?? 0,
      bare: parts.bare.pid ?? 0,
    };
    this.clients = {
      direct: new RawClient(parts.containerd.socket),
      gateway: new RawClient(parts.socket),
      bare: new RawClient(parts.bareSocket),
    };
  }

  static async start(): Promise<GatewayRig> {
    const dir = await mkdtemp(join(tmpdir(), "trine-bg-"));
    const image = await busyboxImage();
    const containerd = await startContainerd({ version: "2.4", dir: join(dir, "c") });
    await containerd.importImage(image);
    const socket = join(dir, "cri.sock");
    const bareSocket = join(dir, "bare.sock");
    const gateway = await startProgram("gateway-process.ts", socket, containerd.socket);
    const bare = await startProgram("bare-proxy.ts", bareSocket, containerd.socket);
    return new GatewayRig({ dir, containerd, image, gateway, bare, socket, bareSocket });
  }

  /** A second gateway, which relays streams; its socket. It ends with the first. */
  async startRelay(): Promise<string> {
    const socket = join(this.#dir, "relay.sock");
    const args = [socket, this.containerd.socket, "relay"];
    this.#children.push(await startProgram("gateway-process.ts", ...args));
    return socket;
  }

  /** One raw call; its answer's bytes. Kind `internal` unless it succeeds. */
  async call(way: Way, method: string, message: Uint8Array): Promise<Buffer> {
    const { code, message: words, messages } = await this.clients[way].raw(method, message);
    if (code !== 0) throw new TrineError("internal", `${method}: code ${code}, ${words}`);
    return messages[0] ?? Buffer.alloc(0);
  }

  async stop(): Promise<void> {
    for (const way of ALL_WAYS) this.clients[way].close();
    for (const child of this.#children) child.kill();
    await this.containerd.stop();
    await rm(this.#dir, { recursive: true, force: true });
  }
}

/** Resolves when it serves; it ends with this process. */
async function startProgram(name: string, ...args: readonly string[]): Promise<ChildProcess> {
  const program = join(import.meta.dirname, name);
  const argv = ["--pdeathsig", "KILL", process.execPath, program, ...args];
  const child = spawn("setpriv", argv, { stdio: ["ignore", "pipe", "inherit"] });
  await once(child.stdout, "data");
  return child;
}
