// A machine's hardware, seen from inside its guest: signed UEFI, a TPM that remembers, and what it is called.
import { mkdir, readFile, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { signedGuestImage } from "@trine/testkit";
import type { RunningPod } from "@trine/testkit";
import { afterAll, beforeAll, expect, test } from "vitest";
import { BOOT_MS, NodeUnderTest, READY, statusField } from "./node-under-test.ts";

/** The firmware itself takes long under software emulation, and longer in system management mode. */
const UEFI_MS = 300_000;
const UUID = "4c4c4544-0043-3510-8052-b4c04f4e3432";

const HARDWARE = {
  "trine.dev/firmware": "uefi",
  "trine.dev/secure-boot": "on",
  "trine.dev/firmware-persistent": "on",
  "trine.dev/tpm": "persistent",
  "trine.dev/state": "/state",
  "trine.dev/cpu-topology": "{sockets: 2}",
  "trine.dev/cpu-features": "{aes: require, rdrand: disable}",
  "trine.dev/uuid": UUID,
  "trine.dev/smbios": '{manufacturer: "Example, Inc.", serial: SN-1, sku: K-2, family: Tests}',
  "trine.dev/chassis": "{asset: A-17}",
  "trine.dev/watchdog": "reset",
  "trine.dev/usb": "on",
  "trine.dev/panic": "pci",
};

let at: NodeUnderTest;
let image: string;
let state: string;

beforeAll(async () => {
  at = await NodeUnderTest.start("1.6");
  const signed = await signedGuestImage();
  await at.node.containerd.importImage(signed);
  image = signed.name;
  state = join(at.node.dir, "state-volume");
  await mkdir(state);
}, 1_800_000);

afterAll(() => at.end());

function machine(name: string, annotations: Record<string, string>): Promise<RunningPod> {
  return at.node.run({
    name,
    image: annotations["trine.dev/firmware"] === "uefi" ? image : at.tiny,
    annotations: { "trine.dev/memory": "256Mi", ...annotations },
    mounts: [{ hostPath: state, containerPath: "/state" }],
  });
}

/** How often the guest's TPM was started: TPM2_ReadClock, resetCount. */
async function tpmStarts(pod: RunningPod): Promise<number> {
  const ask = String.raw`exec 3<>/dev/tpm0; printf '\200\1\0\0\0\12\0\0\1\201' >&3; head -c 35 <&3 | od -An -v -tx1`;
  const { stdout } = await at.sh(pod, ask);
  const bytes = Buffer.from(stdout.replaceAll(/\s/g, ""), "hex");
  expect(bytes.readUInt32BE(6)).toBe(0);
  return bytes.readUInt32BE(26);
}

/** The pod's TPM: a child of its shim. */
async function swtpmOf(pod: RunningPod): Promise<number> {
  const { shim } = await at.view(pod);
  const children = await readFile(`/proc/${shim.pid}/task/${shim.pid}/children`, "utf8");
  for (const pid of children.trim().split(" ").map(Number)) {
    if ((await readFile(`/proc/${pid}/comm`, "utf8")) === "swtpm\n") return pid;
  }
  return 0;
}

async function line(pod: RunningPod, script: string): Promise<string> {
  return (await at.sh(pod, script)).stdout.trim();
}

test(
  "secure boot, a TPM and names are the guest's, whatever becomes of the daemon",
  async () => {
    const pod = await machine("secure", HARDWARE);
    await at.node.untilOutput(pod, READY, UEFI_MS);

    expect(await line(pod, "dmesg | grep -i 'secure boot enabled'")).toMatch(/enabled/);
    expect(await line(pod, "cat /sys/class/tpm/tpm0/tpm_version_major")).toBe("2");
    // The firmware has measured the policy of secure boot.
    expect(await line(pod, "cat /sys/class/tpm/tpm0/pcr-sha256/7")).toMatch(
      /^(?!0+$)[0-9A-F]{64}$/,
    );
    const starts = await tpmStarts(pod);

    const dmi =
      "sys_vendor product_serial product_sku product_family product_uuid chassis_asset_tag";
    expect((await line(pod, `cd /sys/class/dmi/id; cat ${dmi}`)).split("\n")).toEqual([
      ...["Example, Inc.", "SN-1", "K-2", "Tests", UUID, "A-17"],
    ]);
    const packages = "/sys/devices/system/cpu/cpu*/topology/physical_package_id";
    expect((await line(pod, `cat ${packages}`)).split("\n")).toEqual(["0", "1"]);
    const flags = ` ${await line(pod, "sed -n 's/^flags.*://p' /proc/cpuinfo | head -n 1")} `;
    expect(flags).toContain(" aes ");
    expect(flags).not.toContain(" rdrand ");
    const devices = await line(pod, "cat /sys/bus/pci/devices/*/device");
    expect(devices.split("\n")).toEqual(expect.arrayContaining(["0x25ab", "0x000d", "0x0011"]));

    // What the TPM keeps is no volume of the guest's.
    expect((await at.sh(pod, "test -e /state")).exitCode).toBe(1);
    const swtpm = await swtpmOf(pod);
    const vmm = await at.vmm(pod);
    expect(await statusField(swtpm, "Uid")).toBe(await statusField(vmm, "Uid"));
    expect(await statusField(swtpm, "CapEff")).toBe("0000000000000000");
    expect((await readdir(`/proc/${swtpm}/root`)).sort()).not.toContain("etc");

    await at.node.killTrined();
    await at.node.startTrined();
    expect(await at.vmm(pod)).toBe(vmm);
    expect(await swtpmOf(pod)).toBe(swtpm);
    expect(await tpmStarts(pod)).toBe(starts);

    await expect(machine("second", { ...HARDWARE, "trine.dev/firmware": "bios" })).rejects.toThrow(
      /secure-boot.*needs trine\.dev\/firmware: uefi/,
    );
    const bios = { "trine.dev/tpm": "persistent", "trine.dev/state": "/state" };
    await expect(machine("thief", bios)).rejects.toThrow(/another machine has this TPM's state/);
    await at.node.remove(pod);
    expect((await stat(join(state, "firmware-vars-secure.fd"))).size).toBe(540_672);

    const next = await machine("next", bios);
    await at.node.untilOutput(next, READY, BOOT_MS);
    expect(await tpmStarts(next)).toBe(starts + 1);
    await at.node.remove(next);
  },
  UEFI_MS + 300_000,
);
