// Disks of a machine as trine.dev/disks says, seen from inside a guest that reads and writes them.
import { mkdir, readFile, stat, symlink, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pollUntil } from "@trine/base";
import { buildIso9660 } from "@trine/disk-images";
import { runCommand, tinyGuestDisk } from "@trine/testkit";
import type { RunningPod } from "@trine/testkit";
import { afterAll, beforeAll, expect, test } from "vitest";
import { LoopDevice } from "./loop-device.ts";
import { BOOT_MS, NodeUnderTest, READY } from "./node-under-test.ts";
import { PodOfTest } from "./pod-pair.ts";
import type { ContainerInit } from "./pod-pair.ts";

const MIB = 1024 * 1024;

let at: NodeUnderTest;
let dir: string;
let root: LoopDevice;
let data: LoopDevice;

beforeAll(async () => {
  at = await NodeUnderTest.start("2.4");
  dir = join(at.node.dir, "volume");
  await mkdir(dir);
  await writeFile(join(dir, "base.img"), Buffer.alloc(2 * MIB));
  const iso = buildIso9660([{ name: "hello", bytes: Buffer.from("of the iso") }], {
    volumeLabel: "TOOLS",
  });
  await writeFile(join(dir, "tools.iso"), iso);
  await symlink("/etc/shadow", join(dir, "link.img"));
  await mkdir(join(dir, "cfg", "deep"), { recursive: true });
  await writeFile(join(dir, "cfg", "plain"), "of the volume");
  await writeFile(join(dir, "cfg", "deep", "more"), "of below");
  const files = join(at.node.dir, "files");
  await mkdir(files);
  const raw = join(files, "root.img");
  await runCommand("qemu-img", ["convert", "-O", "raw", await tinyGuestDisk(), raw]);
  root = await LoopDevice.over(raw);
  data = await LoopDevice.make(join(files, "data.img"), 4 * MIB, "data");
}, 1_800_000);

afterAll(async () => {
  await root[Symbol.asyncDispose]();
  await data[Symbol.asyncDispose]();
  await at.end();
});

const DISKS = [
  "- {name: root, device: /dev/root}",
  "- {name: data, device: /dev/data, serial: DATA-1, cache: none, io: native}",
  "- {name: file, file: /vol, size: 8Mi, bus: scsi, cache: writethrough}",
  "- {name: scratch, empty: true, size: 16Mi}",
  "- {name: over, file: /vol/base.img, ephemeral: true, size: 3Mi, bus: scsi, serial: OVER}",
  "- {name: tools, image: /img}",
  "- {name: cd, file: /vol/tools.iso, cdrom: true, bus: scsi}",
  "- {name: cfg, files: /vol/cfg, label: TESTCFG, serial: CFG}",
  "- {name: drive, files: /vol/cfg/deep/more, bus: sata}",
].join("\n");

function container(): ContainerInit {
  return {
    image: { image: at.tiny },
    devices: [
      { hostPath: root.path, containerPath: "/dev/root", permissions: "mrw" },
      { hostPath: data.path, containerPath: "/dev/data", permissions: "mrw" },
    ],
    mounts: [
      { containerPath: "/vol", hostPath: dir },
      { containerPath: "/img", image: { image: at.tiny }, readonly: true },
    ],
  };
}

function pod(name: string, disks: string): Promise<PodOfTest> {
  const annotations = { "trine.dev/memory": "128Mi", "trine.dev/disks": disks };
  return PodOfTest.start(at.node, { name, image: at.tiny, handler: "trine-vm", annotations });
}

async function sh(machine: RunningPod, script: string): Promise<string> {
  const { stdout, stderr } = await at.sh(machine, script);
  return stdout + stderr;
}

/** Serial number, size and whether it is read-only, of all disks. */
const LIST = [
  "modprobe -a virtio_scsi sd_mod sr_mod isofs",
  "for d in /sys/block/[vs][dr]*; do",
  "s=$(cat $d/serial 2>/dev/null || tail -c +5 $d/device/vpd_pg80 | tr -d '\\0')",
  'echo "$s $(($(cat $d/size) * 512)) $(cat $d/ro)"; done',
].join("\n");
/** The device with a serial number. */
const BY = (serial: string): string =>
  `/dev/$(cd /sys/block; grep -l ${serial} */serial */device/vpd_pg80 2>/dev/null | cut -d/ -f1)`;

/** Of the same name each time: another would be a second machine. */
async function boot(of: PodOfTest, attempt: number): Promise<RunningPod> {
  const machine = await of.run({
    ...container(),
    metadata: { name: "machine", attempt },
    logPath: `machine-${attempt}.log`,
  });
  const log = machine.log.replace(/machine\.log$/, `machine-${attempt}.log`);
  await at.node.untilOutput({ ...machine, log }, READY, 3 * BOOT_MS);
  return machine;
}

test(
  "block volumes, files, empty disks, overlays, images and cd-roms: each as it was asked for, and kept or not",
  async () => {
    const of = await pod("disks", DISKS);
    const first = await boot(of, 0);
    const { size: rootBytes } = await stat(root.file);
    const wanted = [`root ${rootBytes} 0`, `DATA-1 ${4 * MIB} 0`, `scratch ${16 * MIB} 0`];
    wanted.push(`tools ${rootBytes} 0`, `file ${8 * MIB} 0`, `OVER ${3 * MIB} 0`);
    const listed = await pollUntil("all disks", { ms: 60_000, everyMs: 500 }, async () => {
      const seen = (await sh(first, LIST)).trim().split("\n");
      return seen.length >= 8 ? seen : undefined;
    });
    expect(listed).toEqual(expect.arrayContaining(wanted));
    expect(
      await sh(
        first,
        `mkdir -p /mnt; for d in /dev/sr* ${BY("CFG")}; do mount -t iso9660 $d /mnt && find /mnt -type f -exec cat {} + -exec echo \\; ; umount /mnt; done; dd if=${BY("CFG")} bs=1 skip=32808 count=7 2>/dev/null`,
      ),
    ).toMatch(
      /of the iso[^]*of below[^]*of the volume[^]*TESTCFG|of below[^]*of the iso[^]*of the volume[^]*TESTCFG/,
    );

    const write = ["DATA-1", "file", "scratch", "OVER"].map(
      (serial) => `printf of-the-guest | dd of=${BY(serial)} conv=notrunc,fsync 2>/dev/null`,
    );
    await sh(first, ["echo kept >/root/mark; sync", ...write].join("\n"));
    expect(await data.read(0, 12)).toBe("of-the-guest");
    expect(await readFile(join(dir, "disk.img"), "latin1")).toMatch(/^of-the-guest/);
    expect((await readFile(join(dir, "base.img"))).every((byte) => byte === 0)).toBe(true);

    // What one machine writes no other gets, and what it refuses leaves nothing.
    const other = await pod("other", DISKS);
    await expect(other.run(container())).rejects.toThrow(/disk root:.*in use/);
    await other.remove();
    const same = await pod("same", "- {name: mine, file: /vol/disk.img}");
    await expect(same.run(container())).rejects.toThrow(/Failed to get "write" lock/);
    await same.remove();

    // What the guest gives back is the host's again.
    const img = join(dir, "disk.img");
    await sh(first, `dd if=/dev/zero bs=64k count=64 seek=32 of=${BY("file")} conv=notrunc,fsync`);
    expect((await stat(img)).blocks * 512).toBeGreaterThanOrEqual(4 * MIB);
    await sh(first, `blkdiscard -o ${2 * MIB} -l ${3 * MIB} ${BY("file")}`);
    expect((await stat(img)).blocks * 512).toBeLessThanOrEqual(MIB + 64 * 1024);

    await at.node.killTrined();
    await at.node.startTrined();
    expect(await sh(first, "cat /root/mark")).toBe("kept\n");
    // Volumes that are grown meanwhile, of a block device with a claim and of a file on scsi.
    await data.grow(6 * MIB);
    await truncate(img, 12 * MIB);
    await pollUntil("its disks have grown", { ms: BOOT_MS, everyMs: 500 }, async () => {
      const seen = (await sh(first, LIST)).trim().split("\n");
      const now = [`DATA-1 ${6 * MIB} 0`, `file ${12 * MIB} 0`];
      return now.every((line) => seen.includes(line)) ? true : undefined;
    });
    await at.runtime.stopContainer({ containerId: first.containerId, timeout: 0n });
    await at.runtime.removeContainer({ containerId: first.containerId });

    const second = await boot(of, 1);
    const read = (serial: string): Promise<string> =>
      sh(second, `modprobe -a virtio_scsi sd_mod; head -c 12 ${BY(serial)} | tr '\\0' .`);
    expect(await sh(second, "cat /root/mark")).toBe("kept\n");
    expect(await read("DATA-1")).toBe("of-the-guest");
    expect(await read("scratch")).toBe("............");
    await pollUntil("scsi disks", { ms: 30_000, everyMs: 500 }, async () =>
      (await read("file")) === "of-the-guest" ? true : undefined,
    );
    expect(await read("OVER")).toBe("............");
    await of.remove();
  },
  8 * BOOT_MS,
);

test(
  "a root written from its image stays, is whole or written again, and another image's is not touched unasked",
  async () => {
    const bytes = (await stat(root.file)).size + MIB;
    await using device = await LoopDevice.make(join(at.node.dir, "written.img"), bytes);
    const devices = [{ hostPath: device.path, containerPath: "/dev/root", permissions: "mrw" }];
    const start = async (fromImage: string, name: string): Promise<[PodOfTest, ContainerInit]> => [
      await pod(name, `- {name: root, device: /dev/root, fromImage: ${fromImage}}`),
      { image: { image: at.tiny }, devices },
    ];
    const boots = async (fromImage: string, name: string, script: string): Promise<string> => {
      const [of, config] = await start(fromImage, name);
      const machine = await of.run(config);
      await at.node.untilOutput(machine, READY, 3 * BOOT_MS);
      const said = await sh(machine, script);
      await of.remove();
      return said;
    };
    await boots("refuse", "written", "echo kept >/root/mark; sync");
    expect(await device.read(0, 39)).toBe('trine-root {"version":1,"state":"comple');
    expect(await boots("refuse", "again", "cat /root/mark")).toBe("kept\n");

    // Of another image, as its header says.
    const header = await device.read(0, 4096);
    const another = header.replace(/"sha256":"[0-9a-f]{64}"/, `"sha256":"${"0".repeat(64)}"`);
    await device.write(another);
    const [of, config] = await start("refuse", "other-image");
    await expect(of.run(config)).rejects.toThrow(/disk root:.*root of another image.*rewrite/);
    await of.remove();
    // Cut short while it was written: whatever is there does not boot.
    await device.write(header.replace('"complete"', '"writing"').padEnd(4096, "\0").slice(0, 4096));
    await device.write("\0".repeat(4096), 2 * MIB);
    const mark = "cat /root/mark 2>&1; echo mine >/root/mark; sync";
    expect(await boots("refuse", "half", mark)).toContain("No such file");
    await device.write(another);
    expect(await boots("rewrite", "rewritten", "cat /root/mark 2>&1")).toContain("No such file");

    const refused = async (says: RegExp): Promise<void> => {
      const [none, wanted] = await start("rewrite", "refused-root");
      await expect(none.run(wanted)).rejects.toThrow(says);
      await none.remove();
    };
    await device.write("somebody's data");
    await refused(/disk root: device \/dev\/root holds something that is no root of an image/);
    expect(await device.read(0, 15)).toBe("somebody's data");
  },
  16 * BOOT_MS,
);

test.each([
  [
    "- {name: a, device: /dev/a}",
    /disk a: the container has no block device \/dev\/a: it has \/dev\/root, \/dev\/data/,
  ],
  [
    "- {name: a, file: /no/where}",
    /disk a: no volume of the container is mounted at or above \/no\/where/,
  ],
  ["- {name: a, file: /vol/absent.img}", /disk a:.*does not exist; with a size it is made/],
  ["- {name: a, file: /vol/link.img, readOnly: true}", /disk a:.*is a link/],
  [
    "- {name: a, file: /img/disk/x, size: 1Gi}",
    /disk a: the volume of \/img\/disk\/x is read-only/,
  ],
  ["- {name: a, files: /vol}", /disk a: read \/vol: more than 1572864 bytes/],
  ["- {name: a, image: /vol}", /disk a: the image has no \/disk/],
  ["- {name: root, size: 1Mi}", /trine\.dev\/root-size.*only enlarges/],
])("%s is refused with the reason, and nothing is left", async (disks, says) => {
  const of = await pod("refused", disks);
  await expect(of.run(container())).rejects.toThrow(says);
  await of.remove();
});
