import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { cpus, release } from "node:os";
import { pipeline } from "node:stream/promises";
import { TrineError, messageOf } from "@trine/base";
import { bootOf } from "@trine/vmm";
import type { MachineSpec } from "@trine/vmm";
import { planMachine } from "./plan-machine.ts";
import type { QemuEnvironment } from "./qemu-environment.ts";
import { queryQemu } from "./query-qemu.ts";

const NO_UUID = "00000000-0000-4000-8000-000000000000";
const NO_MAC = "02:00:00:00:00:00";

/**
 * Hash of all that a state and what loads it must have in common: the program, its arguments, what it booted,
 * and the host's CPU, which a guest under KVM sees and an emulated one may (`-cpu max`).
 */
export async function templateKey(
  spec: MachineSpec,
  environment: QemuEnvironment,
  signal: AbortSignal,
): Promise<string> {
  const { qemuPath } = environment;
  const [qemu, program, booted] = await Promise.all([
    queryQemu(qemuPath, signal),
    identityOf(qemuPath),
    bootHashes(spec, signal),
  ]);
  const { argv } = planMachine(withoutIdentity(spec), environment);
  const host = [cpus()[0]?.model, release()];
  const parts = [qemu.version, program, argv, booted, host];
  return createHash("sha256").update(JSON.stringify(parts)).digest("hex");
}

/** What a clone may have of its own is the same in all. */
function withoutIdentity(spec: MachineSpec): MachineSpec {
  const { slots } = spec;
  const same: MachineSpec = {
    ...spec,
    id: "template",
    uuid: NO_UUID,
    nics: spec.nics.map((nic) => ({ ...nic, mac: NO_MAC, tap: "tap" })),
    ...(slots === undefined ? {} : { slots: { ...slots, dir: "/slots" } }),
    // Both sides have their memory in a file.
    isTemplate: true,
  };
  Reflect.deleteProperty(same, "origin");
  return same;
}

/** Kind `unavailable` when there is no such file. */
async function identityOf(path: string): Promise<string> {
  const file = await stat(path).catch((cause: unknown) => {
    throw new TrineError("unavailable", `${path}: ${messageOf(cause)}`, { cause });
  });
  return [file.dev, file.ino, file.size, file.mtimeMs].join(" ");
}

async function bootHashes(spec: MachineSpec, signal: AbortSignal): Promise<string[]> {
  const boot = bootOf(spec);
  if (boot.kind === "firmware") return [];
  return Promise.all([fileHash(boot.kernel, signal), fileHash(boot.initrd, signal)]);
}

const known = new Map<string, { readonly identity: string; readonly hash: Promise<string> }>();

/** SHA-256; again only when the file has changed. */
async function fileHash(path: string, signal: AbortSignal): Promise<string> {
  const identity = await identityOf(path);
  const old = known.get(path);
  if (old?.identity === identity) return old.hash;
  const hash = hashFile(path, signal);
  known.set(path, { identity, hash });
  hash.catch(() => known.delete(path)); // a failure is asked again
  return hash;
}

async function hashFile(path: string, signal: AbortSignal): Promise<string> {
  const hash = createHash("sha256");
  await pipeline(createReadStream(path), hash, { signal });
  return hash.digest("hex");
}
