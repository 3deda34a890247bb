// What annotations promise, seen from inside the guest.
import { dirname, join } from "node:path";
import {
  type RunningPod,
  cachedDir,
  containerDisk,
  kernelImage,
  runCommand,
  tinyGuestDisk,
} from "@trine/testkit";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { BOOT_MS, NodeUnderTest, READY } from "./node-under-test.ts";

const KEY =
  "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f admin@example";
/** The firmware itself takes long under software emulation. */
const UEFI_MS = 180_000;

describe("what a machine is told to be", () => {
  let at: NodeUnderTest;

  beforeAll(async () => {
    at = await NodeUnderTest.start("1.6");
  }, 1_800_000);

  afterAll(() => at.end());

  async function seedFile(pod: RunningPod, name: string): Promise<string> {
    const iso = join(await at.podDir(pod), "seed.iso");
    return runCommand("isoinfo", ["-i", iso, "-R", "-x", `/${name}`]);
  }

  test(
    "boots by UEFI, and goes on when the daemon restarts",
    async () => {
      const annotations = { "trine.dev/firmware": "uefi" };
      const pod = await at.machine("uefi", { annotations, memory: "256Mi" });
      await at.node.untilOutput(pod, READY, UEFI_MS);
      expect(await at.sh(pod, "test -d /sys/firmware/efi")).toMatchObject({ exitCode: 0 });
      const before = await at.vmm(pod);
      await at.node.killTrined();
      await at.node.startTrined();
      expect(await at.vmm(pod)).toBe(before);
      expect(await at.sh(pod, "echo still")).toMatchObject({ stdout: "still\n" });
      await at.runtime.stopContainer({ containerId: pod.containerId, timeout: 60n });
      expect(await at.node.ended(pod)).toMatchObject({ exitCode: 0 });
      await at.node.remove(pod);
    },
    UEFI_MS + 120_000,
  );

  test("boots by the BIOS when nothing is said", async () => {
    const pod = await at.booted("bios");
    expect((await at.sh(pod, "test -d /sys/firmware/efi")).exitCode).toBe(1);
    expect((await at.sh(pod, "test -e /sys/firmware/acpi/tables/WAET")).exitCode).toBe(0);
    await at.node.remove(pod);
  });

  test("boots a kernel and an initrd of its image, without any disk, with a command line that nobody reads but it", async () => {
    const image = await kernelImage();
    await at.node.containerd.importImage(image);
    const args = `console=ttyS0 quiet says="a;b" $(c) 'd,e=f`;
    const kernel = {
      "trine.dev/machine": "main",
      "trine.dev/kernel": "/boot/vmlinuz",
      // Of a volume: nothing of /boot in the image is below it.
      "trine.dev/initrd": "/trine.dev/kernel/initrd",
      "trine.dev/kernel-args": args,
    };
    const volume = [
      { containerPath: "/trine.dev/kernel", hostPath: dirname(image.initrd), readonly: true },
    ];
    const pod = await at.machine("kernel", {
      image: image.name,
      annotations: kernel,
      mounts: volume,
    });
    await at.node.untilOutput(pod, `KERNEL-GUEST ${args}`, BOOT_MS);
    expect((await at.view(pod)).machine?.disks.map(({ name }) => name)).toEqual(["seed"]);
    await at.node.remove(pod);
  });

  test("boots from a raw disk, which stays as it was, by virtio of before 1.0", async () => {
    const source = await tinyGuestDisk();
    const dir = await cachedDir("tiny-raw", [source], async (making) => {
      const disk = join(making, "disk.img");
      await runCommand("qemu-img", ["convert", "-O", "raw", source, disk]);
    });
    const raw = join(dir, "disk.img");
    const image = await containerDisk("tiny-raw", raw);
    await at.node.containerd.importImage(image);
    const annotations = { "trine.dev/virtio-transitional": "on", "trine.dev/keyboard": "virtio" };
    const pod = await at.booted("raw", { image: image.name, annotations });
    const { stdout: ids } = await at.sh(pod, "cat /sys/bus/pci/devices/*/device");
    // Network card, balloon, disk, ports, random numbers; and the keyboard, which never had another.
    expect(ids.split("\n")).toEqual(
      expect.arrayContaining(["0x1000", "0x1002", "0x1001", "0x1003", "0x1005", "0x1052"]),
    );
    expect(await at.sh(pod, "echo written >/root/mark; sync")).toMatchObject({ exitCode: 0 });
    const { machine } = await at.view(pod);
    const layer = machine?.disks.find(({ name }) => name === "root")?.path ?? "";
    const lower = layer.replace(/\/\.trine\/root\.qcow2$/, "/disk/disk.img");
    await runCommand("cmp", [lower, raw]);
    await at.node.remove(pod);
  });

  test("shows the guest a root disk of the size that was asked for", async () => {
    const pod = await at.booted("size", { annotations: { "trine.dev/root-size": "3Gi" } });
    const { stdout } = await at.sh(pod, "cat /sys/block/vda/size");
    expect(Number(stdout) * 512).toBe(3 * 1024 ** 3);
    await at.node.remove(pod);
  });

  test("gives as many processors, as much memory and as many queues as was asked for", async () => {
    const pod = await at.booted("shape", {
      annotations: {
        ...{ "trine.dev/cpus": "2", "trine.dev/io-threads": "2" },
        "trine.dev/disk-multiqueue": "on",
      },
      memory: "192Mi",
    });
    const { stdout } = await at.sh(pod, "nproc; sed -n 's/^MemTotal: *//p' /proc/meminfo");
    const [cpus, memory] = stdout.split("\n").map((line) => Number.parseInt(line, 10));
    expect(cpus).toBe(2);
    expect(memory).toBeGreaterThan(150 * 1024);
    expect(memory).toBeLessThanOrEqual(192 * 1024);
    expect((await at.sh(pod, "ls /sys/block/vda/mq")).stdout.split(/\s+/)).toEqual(["0", "1", ""]);
    // One is the root's, the other the seed's.
    const pid = await at.vmm(pod);
    const threads = await runCommand("ps", ["-L", "-o", "comm=", "-p", String(pid)]);
    expect(threads.split("\n")).toEqual(expect.arrayContaining(["IO io-0", "IO io-1"]));
    await at.node.remove(pod);
  });

  test("brings host name, keys, user-data and network in its seed, and the guest reads it", async () => {
    const userData = "#cloud-config\nruncmd: [touch /told]\n";
    const pod = await at.machine("seeded", {
      annotations: {
        "trine.dev/hostname": "db1.example.com",
        "trine.dev/ssh-keys": KEY,
        "trine.dev/user-data": userData,
        "trine.dev/meta-data": "region: eu-1\n",
      },
    });
    const output = await at.node.untilOutput(pod, READY, BOOT_MS);
    expect(output).toMatch(
      /TINY-GUEST SEED nocloud name=db1\.example\.com user-data: #cloud-config/,
    );
    expect(await at.sh(pod, "hostname")).toMatchObject({ stdout: "db1.example.com\n" });
    const meta = await seedFile(pod, "meta-data");
    expect(meta).toContain("db1.example.com");
    expect(meta).toContain(KEY);
    expect(meta).toContain("eu-1");
    expect(await seedFile(pod, "user-data")).toContain("touch /told");
    expect(await seedFile(pod, "network-config")).toContain(pod.ip);
    await at.node.remove(pod);
  });

  test("has no seed where it opted out, and no ACPI tables of the VMM where that is off", async () => {
    const annotations = {
      "trine.dev/cloud-init": "off",
      "trine.dev/platform": "{acpi: off, smm: off}",
    };
    const pod = await at.booted("plain", { annotations });
    expect((await at.sh(pod, "test -e /dev/vdb")).exitCode).toBe(1);
    // The BIOS has plain ones of its own, without this one.
    expect((await at.sh(pod, "test -e /sys/firmware/acpi/tables/WAET")).exitCode).toBe(1);
    await at.node.remove(pod);
  });

  test("cannot be entered where the guest agent is off", async () => {
    const pod = await at.booted("closed", { annotations: { "trine.dev/guest-agent": "off" } });
    await expect(at.sh(pod, "true")).rejects.toThrow(/guest agent is off/);
    await at.node.remove(pod);
  });

  test("has a display where it was asked for, and ends when it reboots where that was", async () => {
    const annotations = { "trine.dev/display": "on", "trine.dev/on-reboot": "end" };
    const pod = await at.booted("shown", { annotations });
    const { stdout } = await at.sh(pod, "cat /sys/bus/pci/devices/*/class");
    expect(stdout).toMatch(/^0x0300/m);
    await at.sh(pod, "(sleep 1; reboot -f) >/dev/null 2>&1 &");
    expect(await at.node.ended(pod)).toMatchObject({ exitCode: 0 });
    await at.node.remove(pod);
  });
});
