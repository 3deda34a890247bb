import { execFile } from "node:child_process";
import { open, readFile, rename, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { gzipSync } from "node:zlib";
import { TrineError, kindOf, messageOf } from "@trine/base";
import type { PodSummary } from "@trine/engine";
import { withCri } from "../connect.ts";
import type { Io } from "../io.ts";
import { NodeClient } from "../node/node-client.ts";
import { toPodObject } from "../pods/pod-object.ts";
import { listPodViews } from "../pods/pod-view.ts";
import type { PodView } from "../pods/pod-view.ts";
import { pickPod } from "../pods/select-pods.ts";
import { VERSION } from "../version.ts";
import { redactText, redactValue } from "./redact.ts";
import { toTar } from "./tar.ts";
import type { Entry } from "./tar.ts";

const run = promisify(execFile);
const MAX_FILE = 256 * 1024;
const MAX_PODS = 200;
const MAX_TOTAL = 32 * 1024 * 1024;
const TOOL_MS = 10_000;
const CONFIG = "/etc/trine/config.yaml";
/** In a pod's directory; what they say is the programs' own, never the guest's. */
const LOGS = ["shim.log", "vmm.log", "p9.log"];

export interface DiagFlags {
  readonly node: boolean;
  readonly file?: string;
}

/** `trine diag POD|--node`: what somebody who is to help needs, in one file, without secrets. Prints its name. */
export async function collectDiag(
  io: Io,
  name: string | undefined,
  flags: DiagFlags,
): Promise<void> {
  if ((name === undefined) !== flags.node) {
    throw new TrineError("invalid", "name a pod, or give --node for all of them");
  }
  const entries: Entry[] = [];
  const add = (path: string, value: unknown): void => {
    const text = typeof value === "string" ? redactText(value) : json(redactValue(value));
    entries.push({ name: `trine-diag/${path}`, text: tail(text) });
  };
  const views = await withCri(io, (cri) => listPodViews(cri, io.signal)).catch(
    told(add, "containerd.error"),
  );
  const daemon = new NodeClient(io);
  const pods = await daemon.pods().catch(told(add, "trined.error"));
  if (views === undefined) {
    io.stderr.write("trine: containerd does not answer: only what the node says is in the file\n");
  }
  const chosen =
    name === undefined || views === undefined ? views?.slice(0, MAX_PODS) : [pickPod(views, name)];
  await addNode(io, add);
  for (const view of chosen ?? []) {
    const summary = pods?.find(({ sandboxId }) => sandboxId === view.sandboxId);
    await addPod(add, view, summary);
    if (summary?.machine !== undefined) await addMachine(add, daemon, view);
    if (entries.reduce((sum, { text }) => sum + text.length, 0) > MAX_TOTAL) {
      add("cut.txt", `more than ${MAX_TOTAL} bytes: the pods after ${view.name} are left out`);
      break;
    }
  }
  const stamp = new Date().toISOString().replaceAll(/[-:]|\..*/g, "");
  const file = flags.file ?? `trine-diag-${name?.replaceAll("/", "_") ?? "node"}-${stamp}.tar.gz`;
  await writeWhole(file, gzipSync(toTar(entries, Math.floor(Date.now() / 1000))));
  io.stdout.write(`${file}\n`);
}

type Add = (path: string, value: unknown) => void;

/** What does not answer is a finding, and the rest is collected all the same. */
function told(add: Add, path: string): (cause: unknown) => undefined {
  return (cause) => {
    if (kindOf(cause) === "canceled") throw cause;
    add(path, messageOf(cause));
  };
}

async function addNode(io: Io, add: Add): Promise<void> {
  const versions = await withCri(io, (cri) => cri.runtime.version({})).catch(
    told(add, "version.error"),
  );
  add("versions.json", {
    ...{ trine: VERSION, node: process.version, kernel: await text("/proc/version") },
    containerd: versions?.runtimeVersion ?? "unknown",
    qemu: (await tool("qemu-system-x86_64", "--version")).split("\n")[0],
  });
  add("config.yaml", await text(CONFIG));
  add("events.log", await text(join(io.dataDir, "events.log")));
  for (const [path, program, ...args] of [
    ["network/addresses.txt", "ip", "-d", "address"],
    ["network/routes.txt", "ip", "route", "show", "table", "all"],
    ["network/nft.txt", "nft", "list", "ruleset"],
  ] as const) {
    add(path, await tool(program, ...args));
  }
}

async function addPod(add: Add, view: PodView, summary: PodSummary | undefined): Promise<void> {
  const at = placeOf(view);
  add(`${at}/pod.json`, { ...toPodObject(view), sandboxId: view.sandboxId, summary });
  if (summary === undefined) return;
  const dir = dirname(summary.machine?.consoleSocket ?? "");
  if (dir !== ".") for (const log of LOGS) add(`${at}/${log}`, await text(join(dir, log)));
  const inside = ["--target", String(summary.shim.pid), "--net", "--"];
  add(`${at}/addresses.txt`, await tool("nsenter", ...inside, "ip", "-d", "address"));
  add(`${at}/nft.txt`, await tool("nsenter", ...inside, "nft", "list", "ruleset"));
}

/** The VMM's own answers, or why there are none. */
export async function addMachine(
  add: Add,
  daemon: NodeClient,
  view: Pick<PodView, "namespace" | "name" | "sandboxId">,
): Promise<void> {
  const at = placeOf(view);
  const report = await daemon.machineReport(view.sandboxId).catch((cause: unknown) => {
    add(`${at}/machine-report.error`, `the machine gives no report: ${messageOf(cause)}\n`);
  });
  if (report !== undefined) add(`${at}/machine-report.json`, report);
}

function placeOf({ namespace, name }: Pick<PodView, "namespace" | "name">): string {
  return `pods/${namespace}_${name}`.slice(0, 60);
}

async function tool(program: string, ...args: readonly string[]): Promise<string> {
  try {
    const options = { timeout: TOOL_MS, maxBuffer: 4 * MAX_FILE };
    return (await run(program, args, options)).stdout;
  } catch (cause) {
    return `${program}: ${messageOf(cause)}`;
  }
}

/** The end of a file; why not, when it cannot be read. */
async function text(path: string): Promise<string> {
  try {
    const { size } = await stat(path);
    if (size === 0) return await readFile(path, "utf8"); // of /proc, or empty
    await using file = await open(path);
    const bytes = Buffer.alloc(Math.min(size, MAX_FILE));
    const { bytesRead } = await file.read(bytes, 0, bytes.length, size - bytes.length);
    return bytes.toString("utf8", 0, bytesRead);
  } catch (cause) {
    return messageOf(cause);
  }
}

function tail(whole: string): string {
  return whole.length > MAX_FILE ? `(cut)\n${whole.slice(-MAX_FILE)}` : whole;
}

function json(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}

async function writeWhole(file: string, data: Buffer): Promise<void> {
  const fresh = `${file}.${process.pid}.new`;
  try {
    await using out = await open(fresh, "wx", 0o600);
    await out.writeFile(data);
    await rename(fresh, file);
  } catch (cause) {
    await rm(fresh, { force: true });
    throw new TrineError("invalid", `${file}: ${messageOf(cause)}`, { cause });
  }
}
