import { cp, mkdir, readdir, rm, symlink, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { bootLoaderPackages, writeBootDisk } from "./boot-disk.ts";
import { cachedDir } from "./cache.ts";
import { kernelPackage, resolvePackages, unpackPackages } from "./debian-packages.ts";
import { BOOT_SOURCES, moduleFiles, writeInitramfs } from "./guest-initramfs.ts";
import { hashOfFiles } from "./recipe.ts";
import { runCommand } from "./run-command.ts";

const SOURCE = join(import.meta.dirname, "../guest/debian");
const SUITE = "bookworm";
const PACKAGES = [
  ...[
    "systemd-sysv",
    "systemd-resolved",
    "udev",
    "dbus",
    "kmod",
    "iproute2",
    "iputils-ping",
    "procps",
  ],
  ...["sudo", "openssh-server", "qemu-guest-agent", "cloud-init", "fio"],
];
const MODULES = [
  ...[
    "virtio_net",
    "virtio_console",
    "virtio-rng",
    "virtio_balloon",
    "virtio_scsi",
    "sd_mod",
    "sr_mod",
  ],
  ...["ata_piix", "isofs", "vfat", "nls_cp437", "nls_ascii", "fuse", "virtiofs", "overlay", "loop"],
  ...[
    "squashfs",
    "erofs",
    "button",
    "evdev",
    "pvpanic-pci",
    "autofs4",
    "vmw_vsock_virtio_transport",
  ],
];
const APPEND =
  "console=ttyS0 quiet loglevel=1 mitigations=off nokaslr cryptomgr.notests random.trust_cpu=on " +
  "nowatchdog raid=noautodetect audit=0 apparmor=0 no_timer_check net.ifnames=0 " +
  "systemd.show_status=0 8250.nr_uarts=1 panic=1";
/** Units, generators and udev rules that only take time in a guest that lives for minutes. */
const MASKED_UNITS = [
  ...["apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "fstrim.timer"],
  ...[
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "systemd-pstore.service",
    "systemd-binfmt.service",
  ],
  ...["systemd-update-utmp.service", "systemd-update-utmp-runlevel.service", "getty@tty1.service"],
  ...["proc-sys-fs-binfmt_misc.automount", "sys-kernel-debug.mount", "sys-kernel-tracing.mount"],
  ...["dev-hugepages.mount", "dev-mqueue.mount", "cloud-init-hotplugd.socket", "hwclock.service"],
  ...[
    "systemd-journal-flush.service",
    "systemd-random-seed.service",
    "systemd-modules-load.service",
  ],
  ...["systemd-network-generator.service", "systemd-sysusers.service", "kmod-static-nodes.service"],
  ...["systemd-remount-fs.service", "sys-kernel-config.mount", "sys-fs-fuse-connections.mount"],
  ...["modprobe@dm_mod", "modprobe@drm", "modprobe@configfs", "modprobe@fuse", "modprobe@loop"].map(
    (unit) => `${unit}.service`,
  ),
];
const MASKED_GENERATORS = [
  ...["cryptsetup", "debug", "gpt-auto", "hibernate-resume", "integritysetup", "rc-local", "run"],
  ...["system-update", "sysv", "veritysetup"],
].map((name) => `systemd-${name}-generator`);
const MASKED_RULES = [
  ...["60-autosuspend", "60-drm", "60-fido-id", "60-infiniband", "60-persistent-alsa", "60-sensor"],
  ...["60-persistent-input", "60-persistent-storage-dm", "60-persistent-storage-tape", "64-btrfs"],
  ...[
    "60-persistent-v4l",
    "66-azure-ephemeral",
    "70-camera",
    "70-joystick",
    "70-memory",
    "70-mouse",
  ],
  ...["70-touchpad", "75-probe_mtd", "78-sound-card", "85-hwclock", "95-dm-notify", "96-e2scrub"],
].map((name) => `${name}.rules`);
const MASKED = [
  ...MASKED_UNITS.map((name) => `systemd/system/${name}`),
  ...MASKED_GENERATORS.map((name) => `systemd/system-generators/${name}`),
  ...MASKED_RULES.map((name) => `udev/rules.d/${name}`),
];

/**
 * Debian with cloud-init (NoCloud, ConfigDrive), ssh, qemu-guest-agent, systemd-networkd and a login on
 * the serial console; users and keys come only by cloud-init (default user `debian`). On its console:
 * `DEBIAN-GUEST READY …` when cloud-init's last stage is through. The disk has 1 GiB and is not grown.
 * Answers the file name of the QCOW2; the first build takes some minutes.
 */
export async function debianGuestDisk(): Promise<string> {
  const kernel = await resolvePackages([await kernelPackage("cloud")]);
  const loader = await bootLoaderPackages();
  const busybox = await resolvePackages(["busybox-static"]);
  const programs = await resolvePackages(PACKAGES);
  const recipe = [
    JSON.stringify([SUITE, kernel, loader, busybox, programs, APPEND, MODULES, MASKED]),
    await hashOfFiles([SOURCE, import.meta.filename, ...BOOT_SOURCES]),
  ];
  const dir = await cachedDir("debian-guest", recipe, async (making) => {
    const work = join(making, "work");
    await unpackPackages([...kernel, ...loader, ...busybox], join(work, "boot"));
    await buildRoot(join(work, "root"));
    await buildDisk(work, join(making, "debian.qcow2"));
    await rm(work, { recursive: true });
  });
  return join(dir, "debian.qcow2");
}

async function buildRoot(root: string): Promise<void> {
  const without = ["man", "locale", "doc", "info"].map(
    (name) => `path-exclude=/usr/share/${name}/*`,
  );
  await runCommand("mmdebstrap", [
    ...["--quiet", "--mode=root", "--variant=minbase", `--include=${PACKAGES.join(",")}`],
    ...[`--aptopt=Acquire::Languages "none"`, ...without.map((option) => `--dpkgopt=${option}`)],
    `--customize-hook=chroot "$1" systemctl enable systemd-networkd systemd-resolved`,
    `--customize-hook=chroot "$1" systemctl set-default multi-user.target`,
    ...[SUITE, root],
  ]);
  for (const path of MASKED) {
    await mkdir(join(root, "etc", path, ".."), { recursive: true });
    await rm(join(root, "etc", path), { force: true });
    await symlink("/dev/null", join(root, "etc", path));
  }
  // Host keys and the machine's id are each machine's own.
  for (const key of await readdir(join(root, "etc/ssh"))) {
    if (key.startsWith("ssh_host_")) await rm(join(root, "etc/ssh", key));
  }
  await truncate(join(root, "etc/machine-id"), 0);
  await writeFile(join(root, "etc/hostname"), "debian-guest\n");
  await writeFile(join(root, "etc/fstab"), "");
  await cp(join(SOURCE, "etc"), join(root, "etc"), { recursive: true });
}

async function buildDisk(work: string, target: string): Promise<void> {
  const boot = join(work, "boot");
  const root = join(work, "root");
  const busybox = join(boot, "bin/busybox");
  const [release = ""] = await readdir(join(boot, "lib/modules"));
  await runCommand(busybox, ["depmod", "-b", boot, release]);
  await writeInitramfs({
    kernel: boot,
    release,
    kind: "cloud",
    busybox,
    target: join(work, "initrd"),
  });
  for (const file of await moduleFiles(boot, release, MODULES)) {
    const to = join(root, "lib/modules", release, file);
    await mkdir(join(to, ".."), { recursive: true });
    await cp(join(boot, "lib/modules", release, file), to);
  }
  for (const list of ["modules.builtin", "modules.builtin.modinfo", "modules.order"]) {
    await cp(join(boot, "lib/modules", release, list), join(root, "lib/modules", release, list));
  }
  await runCommand("chroot", [root, "depmod", release]);
  const raw = join(work, "disk.raw");
  await writeBootDisk({
    path: raw,
    kernel: join(boot, "boot", `vmlinuz-${release}`),
    initrd: join(work, "initrd"),
    append: APPEND,
    root: { dir: root, sizeMiB: 1024, label: "debian-root" },
    tools: boot,
  });
  await runCommand("qemu-img", ["convert", "-f", "raw", "-O", "qcow2", raw, target]);
}
