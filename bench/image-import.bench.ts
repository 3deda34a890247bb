// A disk from a server on loopback into containerd's store, beside curl and qemu-img convert into a file.
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdtemp, open, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pollUntil } from "@trine/base";
import { DIST, debianGuestDisk, freePort, runCommand, startContainerd } from "@trine/testkit";
import type { Containerd } from "@trine/testkit";
import { median } from "./figure.ts";
import type { BenchResult, Figure } from "./figure.ts";

const ROUNDS = 5;
const IMAGE = "localhost/bench:1";
const AT_LEAST = 0.6;
const CHUNK_BYTES = 1024 * 1024;
/** Name of the file the server has, and how it is made of the QCOW2. */
const SOURCES = [
  { kind: "qcow2", file: "disk.qcow2", args: ["-O", "qcow2"] },
  { kind: "vmdk", file: "disk.vmdk", args: ["-O", "vmdk", "-o", "subformat=streamOptimized"] },
] as const;

interface Taken {
  readonly seconds: number;
  readonly writtenBytes: number;
}

interface Place {
  readonly dir: string;
  readonly base: string;
  readonly containerd: Containerd;
}

export async function run(): Promise<BenchResult> {
  const dir = await mkdtemp(join(tmpdir(), "tb-"));
  const containerd = await startContainerd({ version: "2.4", dir: join(dir, "c") });
  const port = await freePort();
  const address = `127.0.0.1:${port}`;
  const server = spawn("busybox", ["httpd", "-f", "-p", address, "-h", dir], { stdio: "ignore" });
  try {
    const base = `http://${address}`;
    const disk = await debianGuestDisk();
    for (const { file, args } of SOURCES) {
      await runCommand("qemu-img", ["convert", ...args, disk, join(dir, file)]);
    }
    await pollUntil("the server answers", { ms: 30_000 }, () =>
      runCommand("curl", ["-sfo", "/dev/null", "-r", "0-0", `${base}/${SOURCES[0].file}`]).then(
        () => true,
        () => undefined,
      ),
    );
    const figures: Figure[] = [];
    const samples: Record<string, readonly number[]> = {};
    for (const source of SOURCES) {
      const measured = await measure({ dir, base, containerd }, source.file);
      figures.push(...figuresOf(source.kind, measured));
      samples[`${source.kind}-seconds-trine`] = measured.ours.map(({ seconds }) => seconds);
      samples[`${source.kind}-seconds-peer`] = measured.peers.map(({ seconds }) => seconds);
      samples[`${source.kind}-seconds-digest`] = measured.digests;
    }
    return { figures, samples, notes: NOTES };
  } finally {
    server.kill();
    await containerd.stop();
    await rm(dir, { recursive: true });
  }
}

const NOTES = [
  "A Debian machine's disk from busybox httpd on loopback. Peer: curl to a file, then qemu-img convert to " +
    "QCOW2, both written back (sync). trine image import also has containerd digest the image, and ends when " +
    "CRI knows it. Speed: the peer's time by ours. Most: what that would be of an import that needs nothing beyond " +
    "the peer's time but SHA-256 of the image, here by node:crypto in one thread; containerd does it, once the " +
    "image is there. Written: what the block layer was given, of all programs, " +
    "for each byte of the image as it lies in the store.",
];

interface Measured {
  readonly ours: readonly Taken[];
  readonly peers: readonly Taken[];
  /** Seconds that SHA-256 of the image takes. */
  readonly digests: readonly number[];
  readonly imageBytes: number;
}

/** In turns, so that both see the same host. */
async function measure(place: Place, file: string): Promise<Measured> {
  const ours: Taken[] = [];
  const peers: Taken[] = [];
  const digests: number[] = [];
  let imageBytes = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const { digestSeconds, ...peer } = await takePeer(place, file);
    peers.push(peer);
    digests.push(digestSeconds);
    ours.push(await takeOurs(place, file));
    imageBytes = await removeImage(place);
  }
  return { ours, peers, digests, imageBytes };
}

async function takePeer(
  { dir, base }: Place,
  file: string,
): Promise<Taken & { readonly digestSeconds: number }> {
  const [fetched, converted] = [join(dir, "peer.fetched"), join(dir, "peer.qcow2")];
  const before = await writtenBytes(process.pid);
  const started = performance.now();
  await runCommand("curl", ["-sfo", fetched, `${base}/${file}`]);
  await runCommand("qemu-img", ["convert", "-O", "qcow2", fetched, converted]);
  await writeBack(converted);
  const seconds = (performance.now() - started) / 1000;
  const after = await writtenBytes(process.pid);
  const digestSeconds = await digestTime(converted);
  await rm(fetched);
  await rm(converted);
  return { seconds, writtenBytes: after - before, digestSeconds };
}

async function takeOurs({ dir, base, containerd }: Place, file: string): Promise<Taken> {
  const pids = [process.pid, containerd.pid ?? 0];
  const before = await Promise.all(pids.map(writtenBytes));
  const started = performance.now();
  await runCommand(
    process.execPath,
    [join(DIST, "trine.mjs"), "image", "import", `${base}/${file}`, "--name", IMAGE],
    { env: { TRINE_CONTAINERD: containerd.socket, TRINE_DATA: join(dir, "data") } },
  );
  const seconds = (performance.now() - started) / 1000;
  const after = await Promise.all(pids.map(writtenBytes));
  const written = after.reduce((sum, each, i) => sum + each - (before[i] ?? 0), 0);
  return { seconds, writtenBytes: written };
}

/** Bytes a process gave to the block layer, and the children it has waited for (proc(5), io). */
async function writtenBytes(pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/io`, "utf8");
  return Number(/^write_bytes: (\d+)$/m.exec(text)?.[1] ?? Number.NaN);
}

async function digestTime(path: string): Promise<number> {
  const hash = createHash("sha256");
  let ms = 0;
  for await (const chunk of createReadStream(path, { highWaterMark: CHUNK_BYTES })) {
    const started = performance.now();
    hash.update(chunk as Buffer);
    ms += performance.now() - started;
  }
  return ms / 1000;
}

/** What containerd does with a blob too. */
async function writeBack(path: string): Promise<void> {
  await using file = await open(path, "r+");
  await file.sync();
}

/** Takes it out of the store, so that the next round begins as the first; answers its layer's size. */
async function removeImage({ containerd, dir }: Place): Promise<number> {
  const environment = { TRINE_CONTAINERD: containerd.socket, TRINE_DATA: join(dir, "data") };
  const trine = (...args: string[]): Promise<string> =>
    runCommand(process.execPath, [join(DIST, "trine.mjs"), "image", ...args], { env: environment });
  const size = await trine("inspect", IMAGE, "-o", "jsonpath={.status.sizeBytes}");
  await trine("rm", IMAGE);
  return Number(size);
}

function figuresOf(kind: string, { ours, peers, digests, imageBytes }: Measured): Figure[] {
  const name = `image-import.${kind}`;
  const seconds = (all: readonly Taken[]): number => median(all.map((each) => each.seconds));
  const perByte = (all: readonly Taken[]): number =>
    median(all.map((each) => each.writtenBytes)) / imageBytes;
  return [
    {
      name: `${name}.speed`,
      value: seconds(peers) / seconds(ours),
      unit: "x curl + qemu-img",
      target: { atLeast: AT_LEAST },
    },
    {
      name: `${name}.most`,
      value: seconds(peers) / (seconds(peers) + median(digests)),
      unit: "x curl + qemu-img",
    },
    { name: `${name}.seconds`, value: seconds(ours), unit: "s" },
    { name: `${name}.seconds-peer`, value: seconds(peers), unit: "s" },
    { name: `${name}.seconds-digest`, value: median(digests), unit: "s" },
    { name: `${name}.image`, value: imageBytes / 2 ** 20, unit: "MiB" },
    { name: `${name}.written`, value: perByte(ours), unit: "bytes per byte of image" },
    { name: `${name}.written-peer`, value: perByte(peers), unit: "bytes per byte of image" },
  ];
}
