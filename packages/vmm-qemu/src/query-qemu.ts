import { execFile } from "node:child_process";
import { stat } from "node:fs/promises";
import { promisify } from "node:util";
import { TrineError, messageOf } from "@trine/base";

const run = promisify(execFile);
const OLDEST = [6, 2] as const;
const TIMEOUT_MS = 20_000;
const MAX_OUTPUT = 4 * 1024 * 1024;

/** What every machine has; see plan-machine.ts. */
const DEVICES = [
  ...["virtio-blk-pci", "virtio-net-pci", "virtio-serial-pci", "virtserialport", "virtconsole"],
  ...["virtio-rng-pci", "virtio-balloon-pci", "virtio-tablet-pci", "isa-serial", "pvpanic", "VGA"],
];

export interface QemuFacts {
  /** As QEMU says it, e.g. 7.2.22. */
  readonly version: string;
  readonly machineTypes: readonly string[];
  readonly accelerators: readonly string[];
}

const known = new Map<string, Promise<QemuFacts>>();

/**
 * Asks the program what it can do; again only when the file has changed. Kind `unavailable` when it does
 * not run, is older than 6.2 or lacks what machines need.
 */
export async function queryQemu(path: string, signal: AbortSignal): Promise<QemuFacts> {
  const file = await stat(path).catch((cause: unknown) => {
    throw new TrineError("unavailable", `QEMU ${path}: ${messageOf(cause)}`, { cause });
  });
  const key = `${path}\0${file.ino}\0${file.mtimeMs}`;
  const old = known.get(key);
  if (old !== undefined) return old;
  const facts = ask(path, signal);
  known.set(key, facts);
  facts.catch(() => known.delete(key)); // a failure is asked again
  return facts;
}

async function ask(path: string, signal: AbortSignal): Promise<QemuFacts> {
  const [version, machines, devices, accelerators] = await Promise.all([
    output(path, ["--version"], signal),
    output(path, ["-machine", "help"], signal),
    output(path, ["-device", "help"], signal),
    output(path, ["-accel", "help"], signal),
  ]);
  return checkFacts(path, { version, machines, devices, accelerators });
}

/** Reads QEMU's four answers. */
export function checkFacts(
  path: string,
  answers: Readonly<Record<"version" | "machines" | "devices" | "accelerators", string>>,
): QemuFacts {
  const found = /version (\d+)\.(\d+)(?:\.\d+)*/.exec(answers.version);
  if (found === null) throw new TrineError("unavailable", `${path} is no QEMU: ${answers.version}`);
  const [major, minor] = [Number(found[1]), Number(found[2])];
  const version = found[0].slice("version ".length);
  if (major < OLDEST[0] || (major === OLDEST[0] && minor < OLDEST[1])) {
    throw new TrineError("unavailable", `${path} is QEMU ${version}: 6.2 is the oldest that works`);
  }
  const machineTypes = firstWords(answers.machines);
  const devices = new Set([...answers.devices.matchAll(/^name "([^"]+)"/gm)].map((m) => m[1]));
  const missing = [
    ...(machineTypes.includes("q35") ? [] : ["machine q35"]),
    ...DEVICES.filter((name) => !devices.has(name)).map((name) => `device ${name}`),
  ];
  if (missing.length > 0) {
    throw new TrineError("unavailable", `QEMU ${path} lacks ${missing.join(", ")}`);
  }
  return { version, machineTypes, accelerators: firstWords(answers.accelerators) };
}

/** First word of each line but the heading. */
function firstWords(text: string): string[] {
  const lines = text.split("\n").slice(1);
  return lines.map((line) => line.split(" ")[0] ?? "").filter((word) => word !== "");
}

async function output(path: string, args: readonly string[], signal: AbortSignal): Promise<string> {
  try {
    const limits = { timeout: TIMEOUT_MS, killSignal: "SIGKILL", maxBuffer: MAX_OUTPUT } as const;
    return (await run(path, args, { ...limits, env: {}, signal })).stdout;
  } catch (cause) {
    signal.throwIfAborted();
    const what = `${path} ${args.join(" ")}: ${messageOf(cause)}`;
    throw new TrineError("unavailable", what, { cause });
  }
}
