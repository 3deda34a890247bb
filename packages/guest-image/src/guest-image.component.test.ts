import { spawn } from "node:child_process";
import type { ChildProcessByStdio } from "node:child_process";
import { once } from "node:events";
import {
  access,
  mkdir,
  readFile,
  readlink,
  readdir,
  symlink,
  truncate,
  writeFile,
} from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { beforeAll, describe, expect, test } from "vitest";
import { pollUntil, withDeadline } from "@trine/base";
import { cacheDir, guestProbe, microvmGuest, resolvePackages, withTempDir } from "@trine/testkit";
import { buildGuestImage, readGuestImage } from "./index.ts";
import type { GuestImage, KernelChoice } from "./index.ts";

const DEBIAN = { from: "debian" } as const;
let probe: string;

beforeAll(async () => {
  probe = await guestProbe();
  await resolvePackages(["linux-image-amd64"]); // refreshes apt's lists where there are none
});

function build(
  out: string,
  kernel: KernelChoice = DEBIAN,
  agent = probe,
  ms = 280_000,
): Promise<GuestImage> {
  const signal = AbortSignal.timeout(ms);
  return buildGuestImage(out, {
    kernel,
    agent,
    cacheDir: cacheDir(),
    signal,
    say: () => undefined,
  });
}

function qemu(image: GuestImage, port: string): ChildProcessByStdio<null, Readable, null> {
  const args = [
    ...["--pdeathsig", "KILL", "qemu-system-x86_64", "-accel", "tcg", "-display", "none"],
    ...["-nodefaults", "-no-reboot", "-machine", "q35", "-m", "256", "-serial", "stdio"],
    ...["-kernel", image.kernel, "-initrd", image.initrd],
    ...["-append", `${image.manifest.cmdline} 8250.nr_uarts=1 console=ttyS0`],
    ...["-device", "virtio-serial-pci", "-chardev", `${port},id=agent`],
    ...["-device", "virtserialport,chardev=agent,name=trine.agent", "-device", "vmgenid,guid=auto"],
  ];
  return spawn("setpriv", args, { stdio: ["ignore", "pipe", "inherit"] });
}

/** Runs an image to its end under emulation; answers what its console and its agent's port said. */
async function run(image: GuestImage, dir: string): Promise<{ console: string; port: string }> {
  const port = join(dir, "port");
  const child = qemu(image, `file,path=${port}`);
  let console = "";
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => (console += chunk));
  try {
    await withDeadline("the probe's guest ends", 110_000, once(child, "close"));
  } finally {
    child.kill("SIGKILL");
  }
  return { console, port: await readFile(port, "utf8") };
}

describe("an image of Debian's kernel", () => {
  test("boots, loads all its modules, and has what its manifest says", () =>
    withTempDir(async (dir) => {
      const { dir: built } = await microvmGuest({ init: probe });
      const image = await readGuestImage(built, { verify: true });
      const { console, port } = await run(image, dir);

      expect(console).toContain(`PROBE READY ${image.manifest.kernel.release}`);
      expect(port).toContain(`PROBE READY ${image.manifest.kernel.release}`);
      expect(port).not.toContain("MODULE ");
      const words = (title: string): string[] =>
        new RegExp(`^${title} (.*)$`, "m").exec(port)?.[1]?.split(/\s+/) ?? [];
      expect(words("FILESYSTEMS")).toEqual(
        expect.arrayContaining(["9p", "overlay", "erofs", "squashfs", "ext4", "virtiofs"]),
      );
      expect(words("CONTROLLERS")).toEqual(
        expect.arrayContaining(["cpuset", "cpu", "io", "memory", "pids"]),
      );
      expect(port).toMatch(/^MITIGATIONS Mitigation:/m);
      expect(port).toContain("VMGENID 1");
      expect(port).toContain("NINEP 5"); // EIO: the transport is there, nobody answers
      expect(image.manifest.features).toEqual(
        expect.arrayContaining(["vmgenid", "9p-fd", "erofs", "overlay", "virtiofs", "vsock"]),
      );
    }));

  test(
    "is the same, byte for byte, when it is built again, and takes the old one's place",
    () =>
      withTempDir(async (dir) => {
        const [a, b] = [await build(join(dir, "a")), await build(join(dir, "b"))];
        for (const name of ["vmlinux", "initrd.cpio", "guest.json"]) {
          const [left, right] = await Promise.all(
            [a, b].map((image) => readFile(join(image.dir, name))),
          );
          expect(left?.equals(right ?? Buffer.alloc(0))).toBe(true);
        }
        // Again into the same place: one image, not two, and a damaged one is mended.
        await truncate(a.kernel, 1000);
        await expect(readGuestImage(a.dir, { verify: true })).rejects.toMatchObject({
          kind: "invalid",
        });
        const again = await build(join(dir, "a"));
        expect(again.dir).toBe(a.dir);
        await readGuestImage(again.dir, { verify: true });
        expect(await readdir(join(dir, "a.d"))).toHaveLength(1);
      }),
    300_000,
  );
});

test("the agent in it answers the first frame of the guest link", () =>
  withTempDir(async (dir) => {
    const image = await readGuestImage((await microvmGuest()).dir);
    expect(image.manifest.agent.version).toMatch(/^\d+\.\d+\.\d+$/);
    const path = join(dir, "port");
    const child = qemu(image, `socket,path=${path},server=on,wait=off`);
    try {
      await pollUntil("QEMU listens", { ms: 20_000 }, () =>
        access(path).then(
          () => true,
          () => undefined,
        ),
      );
      const socket = connect(path);
      // RESET of version 1 with a nonce; HELLO has the same.
      const nonce = Buffer.from("0123456789abcdef");
      const rest = Buffer.concat([Buffer.from([0, 0, 20, 0, 0, 0, 1]), nonce]);
      socket.write(Buffer.concat([Buffer.from([0, 0, 0, 0, 1]), rest]));
      const [answer] = (await withDeadline("HELLO", 110_000, once(socket, "data"))) as [Buffer];
      expect(answer).toEqual(Buffer.concat([Buffer.from([0, 0, 0, 0, 2]), rest]));
      socket.destroy();
    } finally {
      child.kill("SIGKILL");
    }
  }));

// An hour on a slow machine: with the long counts only.
if (process.env["TRINE_SOAK"] !== undefined) {
  test(
    "a kernel compiled of Debian's sources boots and has all of it without modules",
    () =>
      withTempDir(async (dir) => {
        const image = await build(join(dir, "out"), { from: "source" }, probe, 7_000_000);
        expect(image.manifest.modules).toEqual([]);
        const { port } = await run(image, dir);
        expect(port).toContain(`PROBE READY ${image.manifest.kernel.release}`);
        expect(port).toMatch(/^MITIGATIONS Mitigation:/m);
        expect(port).toContain("VMGENID 1");
        expect(port).toContain("NINEP 5");
        for (const name of ["9p", "overlay", "erofs", "squashfs", "ext4", "virtiofs"]) {
          expect(port).toMatch(new RegExp(`^FILESYSTEMS .*\\b${name}\\b`, "m"));
        }
      }),
    7_200_000,
  );
}

describe("what cannot become an image", () => {
  test("a kernel that is not there, one that was cut off, an agent that is no static program", () =>
    withTempDir(async (dir) => {
      const out = join(dir, "out");
      const whole = await readFile((await microvmGuest({ init: probe })).kernel);
      const [kernel, cut] = [join(dir, "vmlinux"), join(dir, "vmlinux-cut")];
      await writeFile(kernel, whole);
      await writeFile(cut, whole.subarray(0, 1_000_000));
      const refused = async (kind: string, says: RegExp, work: Promise<unknown>): Promise<void> => {
        await expect(work).rejects.toThrow(says);
        await expect(work).rejects.toMatchObject({ kind });
      };
      const files = (path: string): KernelChoice => ({ from: "files", kernel: path });
      await refused("notFound", /\/nowhere: no such kernel/, build(out, files("/nowhere")));
      await refused("invalid", /vmlinux-cut: cut off, \d+ bytes/, build(out, files(cut)));
      await refused("notFound", /how was it configured/, build(out, files(kernel)));
      await refused("notFound", /no such agent/, build(out, DEBIAN, join(dir, "none")));
      await refused("invalid", /shared libraries/, build(out, DEBIAN, "/bin/sh"));
      await refused("invalid", /no ELF file/, build(out, DEBIAN, import.meta.filename));
      await writeFile(join(dir, "config"), "CONFIG_NET=y\n");
      await refused("invalid", /without CONFIG_\w+, CONFIG_/, build(out, files(kernel)));
      expect(await readdir(`${out}.d`)).toEqual([]);
    }));

  test("a place that is not ours, or cannot be written", () =>
    withTempDir(async (dir) => {
      await mkdir(join(dir, "full"));
      await writeFile(join(dir, "full/precious"), "");
      await writeFile(join(dir, "file"), "");
      await symlink(join(dir, "full"), join(dir, "link"));
      await expect(build(join(dir, "full"))).rejects.toMatchObject({ kind: "wrongState" });
      await expect(build(join(dir, "link"))).rejects.toMatchObject({ kind: "wrongState" });
      await expect(build(join(dir, "file"))).rejects.toMatchObject({ kind: "wrongState" });
      await expect(build(join(dir, "file/below"))).rejects.toMatchObject({
        kind: "forbidden",
        message: expect.stringMatching(/below: cannot be written: ENOTDIR/) as string,
      });
      await expect(build("/proc/trine/guest")).rejects.toMatchObject({ kind: "forbidden" });
      expect(await readdir(dir)).toEqual(["file", "full", "link"]);
    }));
});

test("an image built over another is found at once; the other stays for one build", () =>
  withTempDir(async (dir) => {
    const out = join(dir, "guest");
    const { kernel } = await microvmGuest({ init: probe });
    const own = { from: "files", kernel: join(dir, "vmlinux") } as const;
    await writeFile(own.kernel, await readFile(kernel));
    await writeFile(join(dir, "config"), MONOLITHIC);
    const first = await build(out, own);
    const old = await readlink(out);
    await writeFile(join(dir, "config"), `${MONOLITHIC}CONFIG_VMGENID=y\n`);
    const second = await build(out, own);
    expect(first.manifest.features).not.toContain("vmgenid");
    expect(second.manifest.features).toContain("vmgenid");
    expect(await readlink(out)).not.toBe(old);
    await readGuestImage(first.dir, { verify: true });
    expect((await readGuestImage(out)).dir).toBe(second.dir);
  }));

/** What a guest needs, all of it said to be built in. */
const MONOLITHIC = [
  ...["BLK_DEV_INITRD", "DEVTMPFS", "TMPFS", "UNIX98_PTYS", "MULTIUSER", "NET", "UNIX", "INET"],
  ...["VIRTIO_PCI", "VIRTIO_CONSOLE", "VIRTIO_BLK", "VIRTIO_NET", "9P_FS", "NET_9P_FD"],
  ...["OVERLAY_FS", "CGROUPS", "MEMCG", "CGROUP_PIDS", "CPUSETS", "BLK_CGROUP", "CFS_BANDWIDTH"],
  ...["CGROUP_BPF", "CGROUP_FREEZER", "NAMESPACES", "UTS_NS", "IPC_NS", "PID_NS", "NET_NS"],
  ...["USER_NS", "SECCOMP_FILTER", "PVH"],
]
  .map((name) => `CONFIG_${name}=y\n`)
  .join("");
