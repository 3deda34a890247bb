// Disk images and container images nobody should accept, packed as containerd takes them.
import { spawn } from "node:child_process";
import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { qcow2Bytes, rawDiskBytes } from "@trine/disk-images/testing";
import { type TestImage, runCommand, writeOciArchive } from "@trine/testkit";

export interface HostileImage {
  readonly name: string;
  /** Fills the root file system; `host` is a directory of the host that must stay as it is. */
  readonly fill: (root: string, host: string) => Promise<void>;
  readonly says: RegExp;
}

const GOOD = (): Buffer => rawDiskBytes("mbr");

async function disk(root: string, bytes: Buffer, name = "disk.img"): Promise<void> {
  await mkdir(join(root, "disk"), { recursive: true });
  await writeFile(join(root, "disk", name), bytes);
}

function image(name: string, fill: HostileImage["fill"], says: RegExp): HostileImage {
  return { name, fill, says };
}

/** Each ends in one clear error. */
export const REFUSED: readonly HostileImage[] = [
  image(
    "a QCOW2 cut off in its tables",
    (root) => disk(root, qcow2Bytes({ keepBytes: 3 * 65_536 })),
    /truncated/,
  ),
  image(
    "a backing file on the host",
    (root, host) => disk(root, qcow2Bytes({ backingFile: join(host, "secret") })),
    /backing file ".*secret"/,
  ),
  image(
    "the host's passwords as backing file",
    (root) => disk(root, qcow2Bytes({ backingFile: "/etc/shadow" })),
    /backing file "\/etc\/shadow"/,
  ),
  image(
    "the host's file as external data",
    (root, host) =>
      disk(root, qcow2Bytes({ extensions: [{ type: 0x44415441, data: join(host, "secret") }] })),
    /external data file/,
  ),
  image(
    "an absurd virtual size",
    (root) => disk(root, qcow2Bytes({ virtualSizeBytes: 1n << 62n })),
    /virtual size/,
  ),
  image(
    "an L1 table of gigabytes",
    (root) => disk(root, qcow2Bytes({ l1Entries: 0xffff_ffff })),
    /L1 table/,
  ),
  image("text", (root) => disk(root, Buffer.from("404 page not found\n")), /holds no QCOW2/),
  image("an empty file", (root) => disk(root, Buffer.alloc(0)), /holds no QCOW2/),
  image(
    "no disk at all",
    async (root) => {
      await mkdir(join(root, "disk"));
    },
    /holds no QCOW2.*empty/,
  ),
  image("a /disk that leads out", (root, host) => symlink(host, join(root, "disk")), /\/disk/),
  image(
    "a disk that leads out",
    async (root, host) => {
      await mkdir(join(root, "disk"));
      await symlink(join(host, "secret"), join(root, "disk/disk.img"));
    },
    /holds no QCOW2/,
  ),
  image(
    "two disks",
    async (root) => {
      await disk(root, GOOD(), "a.img");
      await disk(root, GOOD(), "b.img");
    },
    /2 disks.*a\.img.*b\.img.*exactly one/,
  ),
  image(
    "a FIFO as disk",
    async (root) => {
      await mkdir(join(root, "disk"));
      await runCommand("mkfifo", [join(root, "disk/disk.img")]);
    },
    /holds no QCOW2/,
  ),
  image(
    "a device as disk",
    async (root) => {
      await mkdir(join(root, "disk"));
      await runCommand("mknod", [join(root, "disk/disk.img"), "c", "1", "5"]);
    },
    /holds no QCOW2/,
  ),
  image(
    "/.trine as a file",
    async (root) => {
      await disk(root, GOOD());
      await writeFile(join(root, ".trine"), "mine");
    },
    /\/\.trine/,
  ),
  image(
    "/.trine leading to a directory of the host",
    async (root, host) => {
      await disk(root, GOOD());
      await symlink(host, join(root, ".trine"));
    },
    /\/\.trine/,
  ),
];

/** The names we write below /.trine, each leading to a file of the host. */
export async function fillLinkedLayer(root: string, host: string): Promise<void> {
  await disk(root, GOOD());
  await mkdir(join(root, ".trine"));
  for (const name of ["root.qcow2", ".root.qcow2.new", "firmware-vars.fd"]) {
    await symlink(join(host, "secret"), join(root, ".trine", name));
  }
}

/** Packs a root file system; `dir` gets the archive. */
export async function pack(
  kind: string,
  dir: string,
  fill: (root: string) => Promise<void>,
): Promise<TestImage> {
  const name = `trine.test/hostile-${kind}:1`;
  const root = await mkdtemp(join(dir, "root-"));
  await fill(root);
  const archive = join(dir, `${kind}.tar`);
  await writeOciArchive({ name, root }, archive);
  await rm(root, { recursive: true });
  return { name, archive };
}

export function hostDirectory(): Promise<string> {
  return mkdtemp(join(tmpdir(), "trine-test-host-"));
}

/** IN_OPEN, IN_ACCESS and IN_MODIFY of a file; whoever does it, in whatever namespace. */
const WATCH = `
my $fd = syscall(294, 0); # inotify_init1
syscall(254, $fd, my $path = $ARGV[0], 0x23) >= 0 or die "inotify_add_watch: $!"; # inotify_add_watch
$| = 1; print "watching\\n";
open(my $events, "<&=", $fd) or die; sysread($events, my $event, 4096); print "touched\\n";
`;

/** Watches a file of the host from now on; `stop` answers whether anything opened it. */
export async function watchFile(path: string): Promise<{ stop: () => Promise<boolean> }> {
  const child = spawn("perl", ["-e", WATCH, path], { stdio: ["ignore", "pipe", "inherit"] });
  const said = text(child.stdout);
  await new Promise<void>((resolve, reject) => {
    child.stdout.once("data", () => {
      resolve();
    });
    child.once("exit", (code) => {
      reject(new Error(`the watch of ${path} ended with ${code ?? "a signal"}`));
    });
  });
  return {
    stop: async () => {
      child.kill("SIGKILL");
      return (await said).includes("touched");
    },
  };
}
