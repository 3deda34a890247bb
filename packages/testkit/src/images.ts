import { chmod, cp, link, mkdir, rm, symlink, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { cachedDir } from "./cache.ts";
import { debianGuestDisk } from "./debian-guest-disk.ts";
import { resolvePackages, unpackPackages } from "./debian-packages.ts";
import { idleGuestDisk } from "./idle-guest-disk.ts";
import { kubeBinaries } from "./kube-binaries.ts";
import { writeOciArchive } from "./oci-archive.ts";
import { hashOfFiles } from "./recipe.ts";
import { runCommand } from "./run-command.ts";
import type { TestImage } from "./test-image.ts";
import { tinyGuestDisk } from "./tiny-guest-disk.ts";

const SOURCES = [import.meta.filename, join(import.meta.dirname, "oci-archive.ts")];

/** The sandbox image: sleeps. */
export function pauseImage(): Promise<TestImage> {
  return busyboxBased("pause", { Entrypoint: ["/bin/busybox", "sleep", "2147483647"] });
}

/** Static busybox with all applets as hard links, a root user and /tmp; runs `sh`. */
export function busyboxImage(): Promise<TestImage> {
  return busyboxBased("busybox", { Cmd: ["sh"], Env: ["PATH=/bin"] });
}

/** Kubernetes' own test server (`/agnhost`), static, with busybox beside it. */
export async function agnhostImage(): Promise<TestImage> {
  const program = join(await kubeBinaries(), "agnhost");
  return busyboxBased("agnhost", { Entrypoint: ["/agnhost"], Env: ["PATH=/:/bin"] }, program);
}

/** The tiny guest as a containerDisk: `/disk/tiny.qcow2` in one layer. */
export async function tinyGuestImage(): Promise<TestImage> {
  return containerDisk("tiny-guest", await tinyGuestDisk());
}

/** The guest that only halts as a containerDisk: `/disk/idle.qcow2` in one layer. */
export async function idleGuestImage(): Promise<TestImage> {
  return containerDisk("idle-guest", await idleGuestDisk());
}

/** The same as the tiny one, with Debian's kernel for every machine, which has 9p and virtio-mem. */
export async function genericTinyGuestImage(): Promise<TestImage> {
  return containerDisk("tiny-generic", await tinyGuestDisk("generic"));
}

/** The Debian guest as a containerDisk: `/disk/debian.qcow2` in one layer. */
export async function debianGuestImage(): Promise<TestImage> {
  return containerDisk("debian-guest", await debianGuestDisk());
}

/** Any disk file as a containerDisk image of this name, cached by the file's path. */
export async function containerDisk(kind: string, disk: string): Promise<TestImage> {
  const name = `trine.test/${kind}:1`;
  const recipe = [name, disk, await hashOfFiles(SOURCES)];
  const dir = await cachedDir(`image-${kind}`, recipe, async (making) => {
    const root = join(making, "root");
    await mkdir(join(root, "disk"), { recursive: true });
    await link(disk, join(root, "disk", basename(disk)));
    await writeOciArchive({ name, root }, join(making, "image.tar"));
    await rm(root, { recursive: true });
  });
  return { name, archive: join(dir, "image.tar") };
}

async function busyboxBased(kind: string, config: object, program?: string): Promise<TestImage> {
  const name = `trine.test/${kind}:1`;
  const packages = await resolvePackages(["busybox-static"]);
  const recipe = [
    name,
    JSON.stringify([packages, config, program ?? ""]),
    await hashOfFiles(SOURCES),
  ];
  const dir = await cachedDir(`image-${kind}`, recipe, async (making) => {
    const unpacked = join(making, "unpacked");
    const root = join(making, "root");
    await unpackPackages(packages, unpacked);
    await writeBusyboxRoot(join(unpacked, "bin/busybox"), root);
    if (program !== undefined) await cp(program, join(root, basename(program)));
    await writeOciArchive({ name, root, config }, join(making, "image.tar"));
    await rm(root, { recursive: true });
    await rm(unpacked, { recursive: true });
  });
  return { name, archive: join(dir, "image.tar") };
}

async function writeBusyboxRoot(busybox: string, root: string): Promise<void> {
  for (const dir of ["bin", "etc", "tmp", "root", "proc", "sys", "dev"]) {
    await mkdir(join(root, dir), { recursive: true });
  }
  await chmod(join(root, "tmp"), 0o1777);
  await cp(busybox, join(root, "bin/busybox"));
  await writeFile(
    join(root, "etc/passwd"),
    "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n",
  );
  await writeFile(join(root, "etc/group"), "root:x:0:\nnogroup:x:65534:\n");
  await symlink("/bin", join(root, "sbin"));
  const applets = await runCommand(busybox, ["--list"]);
  for (const applet of applets.trim().split("\n")) {
    // Hard links: masking one applet by a mount must not mask all of them.
    if (applet !== "busybox") await link(join(root, "bin/busybox"), join(root, "bin", applet));
  }
}
