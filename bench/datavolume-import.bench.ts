// A DataVolume's bytes: from a server on the pods' bridge into disk.img by the importer in a pod, beside curl and qemu-img convert
// on the same file and disk.
import { spawn } from "node:child_process";
import { mkdir, mkdtemp, open, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { TrineError, pollUntil } from "@trine/base";
import type { VolumeOrder } from "@trine/node-door";
import { TrineNode, busyboxImage, debianGuestDisk, freePort, runCommand } from "@trine/testkit";
import { PodOfMany } from "../tests/mixed-pod.ts";
import { median } from "./figure.ts";
import type { BenchResult } from "./figure.ts";

const ROUNDS = 5;
const AT_LEAST = 0.7;
const SIZE_BYTES = 3 * 2 ** 30;
const IMPORT_MS = 300_000;
const FILE = "disk.qcow2";

interface Place {
  readonly dir: string;
  readonly url: string;
  readonly node: TrineNode;
  readonly pod: PodOfMany;
  readonly image: string;
}

export async function run(): Promise<BenchResult> {
  const dir = await mkdtemp(join(tmpdir(), "tb-"));
  const node = await TrineNode.start({ version: "2.4" });
  const address = `${node.containerd.bridge.gateway}:${await freePort()}`;
  await mkdir(join(dir, "served"));
  const server = spawn("busybox", ["httpd", "-f", "-p", address, "-h", join(dir, "served")], {
    stdio: "ignore",
  });
  try {
    const busybox = await busyboxImage();
    await node.containerd.importImage(busybox);
    const disk = await debianGuestDisk();
    await runCommand("qemu-img", ["convert", "-O", "qcow2", disk, join(dir, "served", FILE)]);
    const url = `http://${address}/${FILE}`;
    await pollUntil("the server answers", { ms: 30_000 }, () =>
      runCommand("curl", ["-sfo", "/dev/null", "-r", "0-0", url]).then(
        () => true,
        () => undefined,
      ),
    );
    const pod = await PodOfMany.make(node, {
      name: "import",
      annotations: { "trine.dev/imports": "import" },
    });
    const place = { dir, url, node, pod, image: busybox.name };
    const ours: number[] = [];
    const peers: number[] = [];
    // In turns, so that both see the same host.
    for (let round = 0; round < ROUNDS; round += 1) {
      peers.push(await takePeer(place));
      ours.push(await takeOurs(place, round));
    }
    await pod.remove();
    return {
      figures: [
        {
          name: "datavolume-import",
          value: median(peers) / median(ours),
          unit: "x curl + qemu-img",
          target: { atLeast: AT_LEAST },
        },
        { name: "datavolume-import.seconds", value: median(ours), unit: "s" },
        { name: "datavolume-import.seconds-peer", value: median(peers), unit: "s" },
      ],
      samples: { "seconds-trine": ours, "seconds-peer": peers },
      notes: [
        "datavolume-import: a Debian machine's disk (QCOW2) from busybox httpd on the pods' bridge. Ours: from the container's creation in a pod that is " +
          "there until its end, disk.img raw and written back. Peer: curl to a file, then qemu-img convert to raw, written back (sync). Speed: the peer's time by ours.",
      ],
    };
  } finally {
    server.kill();
    await node.stop();
    await rm(dir, { recursive: true });
  }
}

async function takePeer({ dir, url }: Place): Promise<number> {
  const [fetched, converted] = [join(dir, "peer.fetched"), join(dir, "peer.raw")];
  const started = performance.now();
  await runCommand("curl", ["-sfo", fetched, url]);
  await runCommand("qemu-img", ["convert", "-O", "raw", fetched, converted]);
  await runCommand("qemu-img", ["resize", "-q", "-f", "raw", converted, String(SIZE_BYTES)]);
  await using file = await open(converted, "r+");
  await file.sync();
  const seconds = (performance.now() - started) / 1000;
  await rm(fetched);
  await rm(converted);
  return seconds;
}

async function takeOurs({ dir, url, node, pod, image }: Place, round: number): Promise<number> {
  const at = (name: string): string => join(dir, `${name}-${round}`);
  for (const name of ["volume", "work"]) await mkdir(at(name));
  await writeFile(at("said"), "");
  const order: VolumeOrder = {
    version: 1,
    id: `round-${round}`,
    target: "/volume",
    sizeBytes: SIZE_BYTES,
    source: { kind: "http", url },
  };
  const started = performance.now();
  const container = await pod.start({
    name: "import",
    attempt: round,
    image,
    command: ["import", JSON.stringify(order)],
    mounts: [
      { containerPath: "/volume", hostPath: at("volume") },
      { containerPath: "/work", hostPath: at("work") },
      { containerPath: "/dev/termination-log", hostPath: at("said") },
    ],
  });
  const { exitCode } = await node.ended(container, IMPORT_MS);
  const seconds = (performance.now() - started) / 1000;
  if (exitCode !== 0) throw new TrineError("internal", `the import ended with ${exitCode}`);
  await pod.removeContainer(container);
  for (const name of ["volume", "work"]) await rm(at(name), { recursive: true });
  return seconds;
}
