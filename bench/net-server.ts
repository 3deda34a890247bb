// Takes or gives bytes for some seconds, in the network namespace of a pod.
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { TrineError, withDeadline } from "@trine/base";
import type { RunningPod, TrineNode } from "@trine/testkit";

/** Ports of the two directions, as the guest sees them. */
export const PORTS = { "to-pod": 7001, "from-pod": 7002 } as const;
export type Direction = keyof typeof PORTS;

const SECONDS = 2;
const START_MS = 30_000;
const TRANSFER_MS = 60_000;
/** One line for each connection: bytes a second, from the first byte on. */
const SERVER = `
const net = require("net");
const ms = ${SECONDS * 1000};
const tell = (bytes, began) => console.log(String(bytes / ((performance.now() - began) / 1000)));
const takes = net.createServer((s) => {
  s.on("error", () => {});
  s.once("data", () => {
    const began = performance.now();
    const before = s.bytesRead;
    setTimeout(() => { tell(s.bytesRead - before, began); s.destroy(); }, ms);
  });
  s.on("data", () => {});
});
const chunk = Buffer.alloc(65536);
// Whoever takes says at once that it has nothing to give.
const gives = net.createServer({ allowHalfOpen: true }, (s) => {
  s.on("error", () => {});
  const began = performance.now();
  const fill = () => { while (!s.destroyed && s.write(chunk)); };
  s.on("drain", fill);
  setTimeout(() => { tell(s.bytesWritten - s.writableLength, began); s.destroy(); }, ms);
  fill();
});
takes.listen(${PORTS["to-pod"]}, () => gives.listen(${PORTS["from-pod"]}, () => console.log("ready")));
`;

export class NetServer implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  private constructor(child: ChildProcess, lines: AsyncIterator<string>) {
    this.#child = child;
    this.#lines = lines;
  }

  static async start(node: TrineNode, { podSandboxId }: RunningPod): Promise<NetServer> {
    const { info } = await node.containerd.cri.runtime.podSandboxStatus({
      podSandboxId,
      verbose: true,
    });
    const { pid } = JSON.parse(info["info"] ?? "{}") as { pid?: number };
    if (pid === undefined) throw new TrineError("internal", `pod ${podSandboxId} has no process`);
    const argv = ["-t", `${pid}`, "-n", process.execPath, "-e", SERVER];
    const child = spawn("nsenter", argv, { stdio: ["ignore", "pipe", "inherit"] });
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    await withDeadline("the server listens", START_MS, lines.next());
    return new NetServer(child, lines);
  }

  /** Bytes a second of the next connection, which `connect` makes. */
  async rate(connect: () => Promise<unknown>): Promise<number> {
    const connecting = connect();
    const line = await withDeadline("a transfer", TRANSFER_MS, this.#lines.next());
    await connecting;
    const said = line.done === true ? "nothing" : line.value;
    const rate = Number(said);
    if (!(rate > 0)) throw new TrineError("internal", `the server has said ${said}`);
    return rate;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = once(this.#child, "exit");
    this.#child.kill("SIGKILL");
    await ended;
  }
}
