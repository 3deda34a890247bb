import {
  chmod,
  link,
  mkdir,
  mkdtemp,
  readFile,
  readdir,
  rm,
  stat,
  symlink,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseMachineAnnotations } from "@trine/annotations";
import type { MachineSettings } from "@trine/annotations";
import type { ShimLink } from "@trine/shim-client";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { Bundle } from "../bundle.ts";
import { podFiles, removeMachineFiles } from "../pod-files.ts";
import { cpusOf, growthOf, hardwareOf } from "./hardware.ts";
import { UidPool } from "../uid-pool.ts";
import { machineFirmware } from "./machine-firmware.ts";
import { vsockOf } from "./machine-hardware.ts";
import { pinningOf } from "./machine-pinning.ts";
import { passthroughDevices } from "./machine-passthrough.ts";
import { machineTpm } from "./machine-tpm.ts";

const LASTING = { tpm: "persistent", state: "/s" };
const MIB = 1024 * 1024;
const uid = process.getuid?.() ?? 0;

let dir: string;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-mh-"));
});

afterEach(() => rm(dir, { recursive: true }));

function settings(annotations: Record<string, string>): MachineSettings {
  const named = Object.entries(annotations).map(([key, text]) => [`trine.dev/${key}`, text]);
  return parseMachineAnnotations(Object.fromEntries(named) as Record<string, string>);
}

test("a pod that says nothing has a machine without anything of its own", () => {
  expect(hardwareOf(settings({}), 64 * MIB)).toEqual({});
  expect(growthOf(settings({}), 64 * MIB)).toEqual({});
  expect(cpusOf(settings({}))).toBe(1);
});

test("annotations become the machine's hardware", () => {
  const said = settings({
    ...{ "cpu-topology": "{sockets: 1, cores: 2, threads: 2}", "max-cpus": "8" },
    ...{ "max-memory": "101Mi", hyperv: "{synictimer: on, spinlocks: 8191}" },
    ...{
      clock: "{timezone: Europe/Berlin, hpet: off, track: guest, pitPresent: off}",
      chassis: "{asset: A}",
      balloon: "off",
    },
    ...{ watchdog: "reset", sound: "ich9", panic: "off", "usb-redirections": "1" },
    ...{ "on-reboot": "end", platform: "{acpi: off, hidden: on}", "virtio-transitional": "on" },
    ...{ keyboard: "virtio", "io-threads": "3", "disk-multiqueue": "on" },
  });
  expect(cpusOf(said)).toBe(4);
  expect(growthOf(said, 64 * MIB)).toEqual({ maxCpus: 8, memoryMaxBytes: 100 * MIB });
  expect(hardwareOf(said, 64 * MIB)).toEqual({
    topology: { sockets: 2, cores: 2, threads: 2 },
    hyperv: { features: ["synictimer", "synic", "vpindex"], spinlocks: 8191 },
    clock: {
      ...{ timezone: "Europe/Berlin", hpet: false, hypervClock: true },
      ...{ track: "guest", pitPresent: false },
    },
    smbios: { chassis: { asset: "A" } },
    ...{ watchdog: "reset", sound: "ich9", panic: "off", usbRedirections: 1, balloon: false },
    ...{ endsOnReboot: true, transitional: true, keyboard: "virtio" },
    ...{ ioThreads: 3, diskQueues: true },
    platform: { acpi: false, hidden: true },
  });
});

test("what does not fit the memory is refused", () => {
  const huge = settings({ hugepages: "1Gi" });
  expect(() => hardwareOf(huge, 1536 * MIB)).toThrow(/1536 MiB are no whole pages of 1Gi/);
  expect(hardwareOf(huge, 2048 * MIB)).toEqual({ hugePages: 1024 * MIB });
  expect(() => growthOf(settings({ "max-memory": "64Mi" }), 65 * MIB)).toThrow(
    /begins with 65 MiB/,
  );
});

function withCpuset(cpus: string): Bundle {
  return { spec: { linux: { resources: { cpu: { cpus } } } } } as unknown as Bundle;
}

test("virtual CPUs are pinned to those that the container has of its own", () => {
  const two = { cpus: "2", "cpu-pinning": "cpus" };
  expect(pinningOf(settings({ cpus: "2" }), withCpuset("4-7"))).toBeUndefined();
  expect(pinningOf(settings(two), withCpuset("4-5"))).toEqual({ cpus: [4, 5], others: [4, 5] });
  const isolated = settings({ ...two, "cpu-pinning": "isolated" });
  expect(pinningOf(isolated, withCpuset("9,4-5"))).toEqual({ cpus: [4, 5], others: [9] });
  expect(() => pinningOf(isolated, withCpuset("4-5"))).toThrow(/3 CPUs are needed, .* has 2 of/);
  expect(() => pinningOf(settings(two), withCpuset(""))).toThrow(/has none of its own: kubelet's/);
});

const VFIO = { path: "/dev/vfio/7", type: "c", major: 240, minor: 3 };

/** A shim that makes nodes. */
function makesNodes(made: unknown[]): ShimLink {
  const mount = (request: unknown): Promise<void> => {
    made.push(request);
    return Promise.resolve();
  };
  return { mount } as unknown as ShimLink;
}

test("devices of a group are given whole, bridges left to the host", async () => {
  for (const [address, kind] of Object.entries({
    "0000:01:00.1": "0x020000",
    "0000:00:01.0": "0x060400",
  })) {
    await mkdir(join(dir, "7/devices", address), { recursive: true });
    await writeFile(join(dir, "7/devices", address, "class"), kind);
  }
  const made: unknown[] = [];
  const control = { ...VFIO, path: "/dev/vfio/vfio" };
  const of = { spec: { linux: { devices: [control, VFIO] } }, uid: 4242, groupsDir: dir };
  const node = "/pod/disks/_vfio-7";
  expect(await passthroughDevices(makesNodes(made), "/pod", of)).toEqual([
    { address: "0000:01:00.1", group: 7, node },
  ]);
  expect(made).toEqual([
    { target: node, device: { major: 240, minor: 3, uid: 4242, character: true } },
  ]);
});

test.each([
  ["a group that the node has not", VFIO, "unavailable"],
  ["a group that is no device", { ...VFIO, type: "b" }, "invalid"],
  ["a group without a number", { ...VFIO, major: "x" }, "invalid"],
])("%s is refused", async (_, device, kind) => {
  const of = { spec: { linux: { devices: [device] } }, uid, groupsDir: dir };
  await expect(passthroughDevices(makesNodes([]), "/pod", of)).rejects.toMatchObject({ kind });
});

test.each([
  ["5000", /vsock-cid: 5000 is of those that machines without one get/],
  ["5009", /vsock-cid: 5009 is of those/],
])("no machine takes the vsock CID that another would get: %s", async (cid, says) => {
  const uids = new UidPool({ base: 5000, count: 10 });
  const said = settings({ vsock: "on", "vsock-cid": cid });
  await expect(vsockOf({ settings: said, uid: 5001 }, uids)).rejects.toThrow(says);
  expect([uids.covers(4999), uids.covers(5010)]).toEqual([false, false]);
});

/** A machine of a pod of the node whose pods are in `dir`. */
async function inPod(
  pod: string,
  annotations: Record<string, string>,
): Promise<Parameters<typeof machineTpm>[0]> {
  const podDir = join(dir, "pods", pod);
  await mkdir(podDir, { recursive: true });
  return { settings: settings(annotations), uid, files: { podDir } };
}

test("a TPM's state is the machine's own, new for each container unless it is kept", async () => {
  const layer = join(dir, "layer");
  const kept = { dir: join(dir, "volume"), parts: ["a"] };
  await mkdir(layer);
  await mkdir(join(kept.dir, "a"), { recursive: true });
  await writeFile(join(layer, "tpm-state"), "of the image");
  await writeFile(join(kept.dir, "a/tpm-state"), "of the last time");
  const own = await machineTpm(await inPod("p1", { tpm: "on" }), { layer, kept });
  expect(own).toEqual({ statePath: join(layer, "tpm-state") });
  expect(await readFile(own?.statePath ?? "", "utf8")).toBe("");
  const next = await machineTpm(await inPod("p1", LASTING), { layer, kept });
  expect(await readFile(next?.statePath ?? "", "utf8")).toBe("of the last time");
  expect((await stat(next?.statePath ?? "")).mode & 0o777).toBe(0o600);
  expect(await machineTpm(await inPod("p1", {}), { layer, kept })).toBeUndefined();
});

test("one pod of a node has a TPM's state, whatever user had it before and by whatever path", async () => {
  const placeOf = (volume: string): Parameters<typeof machineTpm>[1] => {
    return { layer: dir, kept: { dir: join(dir, volume), parts: [] } };
  };
  for (const volume of ["v1", "v2"]) await mkdir(join(dir, volume));
  await symlink(join(dir, "v1"), join(dir, "same")); // as one volume is mounted for each pod
  const [first, second] = [await inPod("p1", LASTING), await inPod("p2", LASTING)];
  await machineTpm(first, placeOf("v1"));
  await machineTpm(first, placeOf("v1"));
  await expect(machineTpm(second, placeOf("same"))).rejects.toMatchObject({
    kind: "conflict",
    message: expect.stringMatching(
      /another machine has this TPM's state \(.*p1\): let that/,
    ) as string,
  });

  // Both end, and start anew in the other order: ids are given anew, and the files' owners are those of before.
  const files = [first, second].map(({ files: of }) =>
    podFiles({ stateDir: dir, rootDir: dir } as never, of.podDir),
  );
  for (const each of files) await removeMachineFiles(each);
  await machineTpm({ ...second, uid: uid + 1 }, placeOf("v2"));
  await machineTpm({ ...first, uid: uid + 1 }, placeOf("v1"));
  await machineTpm({ ...second, uid }, placeOf("v2"));
  expect((await stat(join(dir, "v1/tpm-state"))).uid).toBe(uid + 1);
});

test("a TPM's state that is no plain file is refused", async () => {
  const lasting = await inPod("p1", LASTING);
  const place = { layer: dir, kept: { dir, parts: [] } };
  const file = join(dir, "tpm-state");
  await writeFile(file, "x");
  await link(file, join(dir, "other"));
  await expect(machineTpm(lasting, place)).rejects.toThrow(/no regular file with one name/);
  await rm(file);
  await symlink("/etc/shadow", file);
  await expect(machineTpm(lasting, place)).rejects.toMatchObject({ kind: "invalid" });
});

test("UEFI's variables are the template's copy", async () => {
  const vars = join(dir, "template");
  await writeFile(vars, "template");
  await chmod(vars, 0o444);
  const config = { machines: { uefi: { code: "/c", vars } } } as never;
  const uefi = settings({ firmware: "uefi" });
  const place = { layer: dir, kept: undefined };
  const own = await machineFirmware(uefi, place, config);
  expect(own).toEqual({ firmware: "uefi", firmwareVarsPath: join(dir, "firmware-vars.fd") });
  const secure = settings({ firmware: "uefi", "secure-boot": "on" });
  await expect(machineFirmware(secure, place, config)).rejects.toThrow(
    /secure-boot: on, but this node has no UEFI firmware for it: install the package ovmf/,
  );
});

test("UEFI's variables that are kept are made whole or not at all, and only taken as they were left", async () => {
  const [vars, secureVars] = [join(dir, "template"), join(dir, "enrolled")];
  await writeFile(vars, "template");
  await writeFile(secureVars, "withkeys");
  const config = { machines: { uefi: { code: "/c", vars, secureVars } } } as never;
  const kept = join(dir, "v");
  await mkdir(kept);
  const made = async (more: Record<string, string> = {}): Promise<string> => {
    const place = { layer: dir, kept: { dir: kept, parts: [] } };
    const { firmwareVarsPath = "" } = await machineFirmware(
      settings({ firmware: "uefi", ...more }),
      place,
      config,
    );
    return firmwareVarsPath;
  };
  await writeFile(join(kept, "firmware-vars.fd.new"), "half of a copy that was cut off");
  const path = await made();
  expect(await readFile(path, "utf8")).toBe("template");
  expect(await readdir(kept)).toEqual(["firmware-vars.fd"]);
  await writeFile(path, "changed!");
  expect(await made()).toBe(path);
  expect(await readFile(path, "utf8")).toBe("changed!");

  // Variables without keys are none for secure boot, nor the other way round.
  const secure = await made({ "secure-boot": "on" });
  expect(await readFile(secure, "utf8")).toBe("withkeys");
  await writeFile(secure, "trusted!");
  expect(await readFile(await made(), "utf8")).toBe("changed!");
  expect(await readFile(await made({ "secure-boot": "on" }), "utf8")).toBe("trusted!");

  await writeFile(path, "of another firmware");
  await expect(made()).rejects.toMatchObject({
    kind: "conflict",
    message: expect.stringMatching(/firmware-vars\.fd there has 19 bytes.* 8: .*remove/) as string,
  });
  expect(await readFile(path, "utf8")).toBe("of another firmware");
});

test("UEFI's variables are written through no link", async () => {
  const vars = join(dir, "template");
  await writeFile(vars, "template");
  const config = { machines: { uefi: { code: "/c", vars } } } as never;
  const place = { layer: dir, kept: { dir, parts: [] } };
  await writeFile(join(dir, "other"), "of the host");
  await symlink(join(dir, "other"), join(dir, "firmware-vars.fd.new"));
  await expect(
    machineFirmware(settings({ firmware: "uefi" }), place, config),
  ).rejects.toMatchObject({ kind: "invalid" });
  expect(await readFile(join(dir, "other"), "utf8")).toBe("of the host");
});
