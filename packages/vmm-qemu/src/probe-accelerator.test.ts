import { chmod, mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { pollUntil } from "@trine/base";
import { probeAccelerator } from "./probe-accelerator.ts";
import { runUntilOutput } from "./run-until-output.ts";

let dir: string;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-vmm-probe-"));
  await writeFile(join(dir, "kvm"), "");
});
afterEach(() => rm(dir, { recursive: true }));

/** A program that answers as QEMU does and boots under emulation; `kvm` is what it does under KVM. */
async function fakeQemu(kvm: string): Promise<string> {
  const devices =
    "virtio-blk-pci virtio-net-pci virtio-serial-pci virtserialport virtconsole virtio-rng-pci " +
    "virtio-balloon-pci virtio-tablet-pci isa-serial pvpanic VGA";
  const path = join(dir, "qemu");
  const script = `#!/bin/sh
echo "$*" >> ${dir}/runs
greet() { printf 'LONG MODE\\r\\n' >&3; exec sleep 60; }
case "$*" in
  --version) echo "QEMU emulator version 7.2.22 (Debian)" ;;
  "-machine help") printf 'Supported machines are:\\nq35  alias\\n' ;;
  "-accel help") printf 'Accelerators supported:\\ntcg\\nkvm\\n' ;;
  "-device help") for name in ${devices}; do echo "name \\"$name\\", bus PCI"; done ;;
  *"-accel kvm"*) echo $$ > ${dir}/pid; ${kvm} ;;
  *) greet ;;
esac
`;
  await writeFile(path, script);
  await chmod(path, 0o755);
  return path;
}

function probe(
  qemuPath: string,
  changes: { device?: string; signal?: AbortSignal } = {},
): ReturnType<typeof probeAccelerator> {
  const signal = AbortSignal.timeout(20_000);
  const device = join(dir, "kvm");
  return probeAccelerator({ qemuPath, cacheFile: join(dir, "cache"), signal, device, ...changes });
}

async function runs(): Promise<number> {
  return (await readFile(join(dir, "runs"), "utf8")).match(/-accel kvm/g)?.length ?? 0;
}

test("a guest that boots makes it kvm", async () => {
  expect(await probe(await fakeQemu("greet"))).toMatchObject({ accelerator: "kvm" });
});

test("a QEMU that dies under KVM makes it tcg, with its last words", async () => {
  const answer = await probe(
    await fakeQemu("echo 'error: failed to set MSR 0x48e' >&2; kill -ABRT $$"),
  );
  expect(answer.accelerator).toBe("tcg");
  expect(answer.reason).toContain("failed to set MSR 0x48e (emulation takes");
});

test("a guest that never speaks makes it tcg, and its process is gone", async () => {
  const answer = await probe(await fakeQemu("exec sleep 60"));
  expect(answer.accelerator).toBe("tcg");
  expect(answer.reason).toContain("no answer within");
  const pid = (await readFile(join(dir, "pid"), "utf8")).trim();
  await expect(readdir(`/proc/${pid}`)).rejects.toThrow("ENOENT");
});

test("without the device there is nothing to boot", async () => {
  const answer = await probe(await fakeQemu("greet"), { device: join(dir, "none") });
  expect(answer).toMatchObject({ accelerator: "tcg" });
  expect(answer.reason).toContain("ENOENT");
});

test("asks once for one host, and again when the cache is damaged or the host another", async () => {
  const qemu = await fakeQemu("greet");
  const first = await probe(qemu);
  expect(await probe(qemu)).toEqual(first);
  expect(await runs()).toBe(1);
  await writeFile(join(dir, "cache"), "{ damaged");
  await probe(qemu);
  expect(await runs()).toBe(2);
  await chmod(join(dir, "kvm"), 0o600);
  await probe(qemu);
  expect(await runs()).toBe(3);
});

test("asks again a day after a no", async () => {
  const qemu = await fakeQemu("exit 1");
  await probe(qemu);
  const cache = JSON.parse(await readFile(join(dir, "cache"), "utf8")) as object;
  const probedAt = new Date(Date.now() - 25 * 3600 * 1000).toISOString();
  await writeFile(join(dir, "cache"), JSON.stringify({ ...cache, probedAt }));
  await probe(qemu);
  expect(await runs()).toBe(2);
});

test("an abort ends the probe and its process, and is no answer", async () => {
  const qemu = await fakeQemu("exec sleep 60");
  const abort = new AbortController();
  const answer = probe(qemu, { signal: abort.signal });
  answer.catch(() => undefined);
  const pid = await pollUntil("a process", { ms: 10_000, everyMs: 10 }, async () => {
    const text = await readFile(join(dir, "pid"), "utf8").catch(() => "");
    return text.endsWith("\n") ? text : undefined; // the shell makes the file before it writes it
  });
  abort.abort(new Error("called off"));
  await expect(answer).rejects.toThrow("called off");
  await expect(readdir(`/proc/${pid.trim()}`)).rejects.toThrow("ENOENT");
  await expect(readFile(join(dir, "cache"))).rejects.toThrow("ENOENT");
});

test("a program that does not exist is named", async () => {
  const run = { argv: ["/nowhere/qemu"], descriptors: [], wanted: "x", ms: 5000 };
  const result = await runUntilOutput({ ...run, signal: AbortSignal.timeout(5000) });
  expect(result).toMatchObject({
    heard: false,
    why: expect.stringContaining("/nowhere/qemu") as string,
  });
});
