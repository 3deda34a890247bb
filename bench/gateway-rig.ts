// A containerd, a gateway before it in its own process, and a client of raw gRPC to each.
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

export type Way = "direct" | "gateway";
export const WAYS: readonly Way[] = ["direct", "gateway"];

export class GatewayRig {
  readonly containerd: Containerd;
  readonly image: TestImage;
  readonly clients: Readonly<Record<Way, RawClient>>;
  readonly pid: number;
  /** The gateway's. */
  readonly socket: string;
  readonly #dir: string;
  readonly #child: ChildProcess;
  #relay: ChildProcess | undefined;

  private constructor(parts: {
    dir: string;
    containerd: Containerd;
    image: TestImage;
    child: ChildProcess;
    socket: string;
  }) {
    this.#dir = parts.dir;
    this.containerd = parts.containerd;
    this.image = parts.image;
    this.#child = parts.child;
    this.socket = parts.socket;
    this.pid = parts.child.pid ?? 0;
    const gateway = new RawClient(parts.socket);
    this.clients = { direct: new RawClient(parts.containerd.socket), gateway };
  }

  static async start(): Promise<GatewayRig> {
    const dir = await mkdtemp(join(tmpdir(), "trine-bg-"));
    const image = await busyboxImage();
    const containerd = await startContainerd({ version: "2.4", dir: join(dir, "c") });
    await containerd.importImage(image);
    const socket = join(dir, "cri.sock");
    const child = await startGateway(socket, containerd.socket);
    return new GatewayRig({ dir, containerd, image, child, socket });
  }

  /** A second gateway, which relays streams; its socket. It ends with the first. */
  async startRelay(): Promise<string> {
    const socket = join(this.#dir, "relay.sock");
    this.#relay = await startGateway(socket, this.containerd.socket, "relay");
    return socket;
  }

  /** One raw call; its answer's bytes. Kind `internal` unless it succeeds. */
  async call(way: Way, method: string, message: Uint8Array): Promise<Buffer> {
    const { code, message: words, messages } = await this.clients[way].raw(method, message);
    if (code !== 0) throw new TrineError("internal", `${method}: code ${code}, ${words}`);
    return messages[0] ?? Buffer.alloc(0);
  }

  async stop(): Promise<void> {
    for (const way of WAYS) this.clients[way].close();
    this.#child.kill();
    this.#relay?.kill();
    await this.containerd.stop();
    await rm(this.#dir, { recursive: true, force: true });
  }
}

/** Resolves when it serves; it ends with this process. */
async function startGateway(...args: readonly string[]): Promise<ChildProcess> {
  const program = join(import.meta.dirname, "gateway-process.ts");
  const argv = ["--pdeathsig", "KILL", process.execPath, program, ...args];
  const child = spawn("setpriv", argv, { stdio: ["ignore", "pipe", "inherit"] });
  await once(child.stdout, "data");
  return child;
}
