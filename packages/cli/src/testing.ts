import { createServer } from "node:http";
import type { RequestListener } from "node:http";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { text } from "node:stream/consumers";
import type { PodSummary } from "@trine/engine";
import { defaultConfig } from "./config/read-config.ts";
import type { Io } from "./io.ts";
import { runTrine } from "./program.ts";

/** What a command line left behind. */
export interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a command line in this process; `typed` is its piped input. */
export async function runWith(
  stateDir: string,
  argv: readonly string[],
  options: { typed?: string; signal?: AbortSignal } = {},
): Promise<Ran> {
  const [stdin, stdout, stderr] = [new PassThrough(), new PassThrough(), new PassThrough()];
  stdin.end(options.typed ?? "");
  const signal = options.signal ?? new AbortController().signal;
  const read = [text(stdout), text(stderr)] as const;
  const code = await runTrine(argv, { ...placesOf(stateDir), stdin, stdout, stderr, signal });
  stdout.end();
  stderr.end();
  return { code, stdout: await read[0], stderr: await read[1] };
}

/** Everything of a node in one directory. */
export function placesOf(
  stateDir: string,
): Pick<Io, "stateDir" | "dataDir" | "containerd" | "config"> {
  return {
    stateDir,
    dataDir: join(stateDir, "data"),
    containerd: join(stateDir, "containerd.sock"),
    config: defaultConfig(),
  };
}

/** A node API of our own on api.sock of a fresh state directory. */
export async function withNodeApi<T>(
  listener: RequestListener,
  body: (stateDir: string) => Promise<T>,
): Promise<T> {
  const stateDir = await mkdtemp(join(tmpdir(), "trine-cli-"));
  const server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(join(stateDir, "api.sock"), resolve));
  try {
    return await body(stateDir);
  } finally {
    server.closeAllConnections();
    server.close();
    await rm(stateDir, { recursive: true });
  }
}

/** A pod as the daemon lists it. */
export function samplePod(
  name: string,
  sandboxId: string,
  machine: Partial<NonNullable<PodSummary["machine"]>> = {},
): PodSummary {
  return {
    namespace: "k8s.io",
    sandboxId,
    name,
    podNamespace: "default",
    uid: `uid-${name}`,
    level: "vm",
    addresses: ["10.0.0.7"],
    shim: { pid: 40, version: "0.1.0" },
    machine: {
      containerName: "main",
      containerId: `c0ffee${sandboxId}`,
      state: "running",
      pid: 41,
      cpus: 2,
      memoryBytes: 512 * 1024 * 1024,
      accelerator: "tcg",
      firmware: "bios",
      uuid: "u",
      disks: [],
      consoleLog: "/nowhere/console.log",
      consoleSocket: "/nowhere/console.sock",
      ...machine,
    },
  };
}

/** Answers `/v1/pods` with these. */
export function listing(...pods: readonly PodSummary[]): RequestListener {
  return (request, response) => {
    response
      .writeHead(request.url === "/v1/pods" ? 200 : 404, { "content-type": "application/json" })
      .end(JSON.stringify({ items: pods }));
  };
}
