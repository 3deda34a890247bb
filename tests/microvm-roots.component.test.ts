// Roots of microvm containers on disks: the same files as under runc, room that ends, slots that are given back,
// a daemon that is killed, images' files that come and go.
import { execFile } from "node:child_process";
import { mkdir, readdir, stat, truncate } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { pollUntil } from "@trine/base";
import { TrineNode, microvmConfig, microvmGuest } from "@trine/testkit";
import type { RunningPod } from "@trine/testkit";
import { afterAll, beforeAll, expect, test } from "vitest";
import { oddImage } from "./odd-image.ts";

const MIB = 1024 * 1024;
const LAYER_BYTES = 64 * MIB;
const MICROVM = "trine-microvm";
const IMAGE_FILE = /^v1-[0-9a-f]{64}\.erofs$/;
const ON_DISKS = /^\S+ on \/ type overlay \(.*lowerdir=\/run\/trine\/roots\/lower,/m;

let node: TrineNode;
let image: string;

beforeAll(async () => {
  const guest = await microvmGuest();
  const config = microvmConfig(guest).replace("roots: {", `roots: { layerBytes: ${LAYER_BYTES},`);
  node = await TrineNode.start({ version: "2.4", config });
  const dir = join(node.dir, "image");
  await mkdir(dir);
  const odd = await oddImage(dir);
  image = odd.name;
  await node.containerd.importImage(odd);
}, 1_800_000);

afterAll(async () => {
  expect(await node.stop()).toEqual([]);
});

const runtime = (): TrineNode["containerd"]["cri"]["runtime"] => node.containerd.cri.runtime;
const rootsDir = (): string => join(node.rootDir, "roots");

async function imageFiles(): Promise<string[]> {
  return (await readdir(rootsDir())).filter((name) => IMAGE_FILE.test(name));
}

function run(name: string, handler = MICROVM): Promise<RunningPod> {
  return node.run({ name, image, handler, command: ["sleep", "1000"] });
}

async function sh(pod: RunningPod, script: string): Promise<string> {
  const cmd = ["/bin/sh", "-c", script];
  const answer = await runtime().execSync({ containerId: pod.containerId, cmd, timeout: 120n });
  const output = Buffer.from(answer.stdout).toString() + Buffer.from(answer.stderr).toString();
  return answer.exitCode === 0 ? output : `${output}(status ${answer.exitCode})\n`;
}

/** Everything of the root that is not a directory's size, and what set-id bits and capabilities are worth. */
const OTHERS = "! -path './proc/*' ! -path './sys/*' ! -path './dev/*' ! -path './etc/[hr]*'";
const TREE = [
  `cd /; for f in $(find . -xdev ${OTHERS} | sort); do`,
  "  if [ -d $f ]; then stat -c '%n %F %a %u %g' $f; else stat -c '%n %F %a %u %g %h %s %t:%T %.9Y' $f; fi",
  "done",
  `find . -xdev -type f ${OTHERS} | sort | while read f; do md5sum $f; done`,
  "readlink kept/dangling; cat hidden/new changed; ls replaced deleted hidden/below 2>&1",
  "su other -c '/bin/busybox-capable grep CapEff /proc/self/status'",
  "[ kept/deep/file -ef kept/hard-link ] && echo same file",
  "echo into null >kept/null; echo null $?; cat kept/disk 2>&1",
  "echo more >>kept/hard-link; wc -c <kept/deep/file; mv kept/deep kept/moved; ls kept/moved",
  "mkdir hidden/below && ls -A hidden/below; rm -r owned; mkdir owned; ls -A owned; touch empty/x; ls empty",
].join("\n");

test("a container finds the files it would find under runc, and does the same with them", async () => {
  const [runc, first] = await Promise.all([run("as-it-is", ""), run("first")]);
  const second = await run("second");
  expect(await sh(second, "mount")).toMatch(ON_DISKS);
  const seen = await sh(second, TREE);
  expect(seen).toBe(await sh(runc, TREE));
  expect(seen).toContain("./owned/large-ids regular empty file 600 3000000000 70000 1 0");
  expect(seen).toContain("CapEff:\t0000000000002000");
  expect(seen).toContain("same file\n");
  expect(await imageFiles()).toHaveLength(1);
  await Promise.all([runc, first, second].map((pod) => node.remove(pod)));
}, 400_000);

test("a full layer is ENOSPC for who writes, and what is deleted is given back to the node", async () => {
  const pod = await run("full");
  const layer = await layerOf(pod);
  expect((await stat(layer)).blocks * 512).toBeLessThan(2 * MIB);
  const full = await sh(
    pod,
    "dd if=/dev/zero of=/big bs=1M 2>&1; sync; echo x >/small; df -m / | tail -1",
  );
  expect(full).toContain("No space left on device");
  expect((await stat(layer)).blocks * 512).toBeGreaterThan(LAYER_BYTES / 2);
  expect(await sh(pod, "cat /changed; id -u; rm /big; echo y >/small && cat /small; sync")).toBe(
    "after0\ny\n",
  );
  await pollUntil("the node has its room again", { ms: 60_000, everyMs: 200 }, async () =>
    (await stat(layer)).blocks * 512 < LAYER_BYTES / 4 ? true : undefined,
  );
  await node.remove(pod);
}, 400_000);

test("slots are given back, and a daemon that is killed finds its disks again", async () => {
  const pod = await run("again");
  for (let attempt = 1; attempt <= 4; attempt += 1) {
    const containerId = await nextContainer(pod, attempt);
    const next = { ...pod, containerId };
    expect(await sh(next, "mount; ls /mine 2>&1; echo here >/mine")).toMatch(ON_DISKS);
    if (attempt === 3) {
      await node.killTrined();
      await node.startTrined();
      expect(await sh(next, "cat /mine; echo more >>/mine; sync; cat /mine")).toBe(
        "here\nhere\nmore\n",
      );
    }
    await runtime().stopContainer({ containerId, timeout: 0n });
    await runtime().removeContainer({ containerId });
  }
  expect(await sh(pod, "ls /mine 2>&1")).toContain("No such file");
  await node.remove(pod);
}, 600_000);

test("a file that was cut short is not used but made again", async () => {
  const [file = ""] = await imageFiles();
  const path = join(rootsDir(), file);
  const { size } = await stat(path);
  await truncate(path, size - 4096);
  const pod = await run("cut");
  expect(await sh(pod, "cat /changed")).toBe("after");
  await pollUntil("it is whole", { ms: 60_000 }, async () =>
    (await stat(path).catch(() => undefined))?.size === size ? true : undefined,
  );
  await node.remove(pod);
}, 400_000);

test("an image's file stays while a container uses it and goes when containerd has the image no more", async () => {
  const pod = await run("last");
  await node.containerd.cri.images.removeImage({ image: { image } });
  await restartTrined();
  expect(await imageFiles()).toHaveLength(1);
  expect(await sh(pod, "cat /changed")).toBe("after");
  await node.remove(pod);
  await pollUntil("the image's file is gone", { ms: 60_000, everyMs: 1_000 }, async () => {
    await restartTrined();
    return (await readdir(rootsDir())).join(" ") === "making" ? true : undefined;
  });
}, 400_000);

async function restartTrined(): Promise<void> {
  await node.killTrined("SIGTERM");
  await node.startTrined();
}

/** The file of the only container's writable layer, by what is mounted for the pod's machine. */
async function layerOf(pod: RunningPod): Promise<string> {
  const { stdout } = await promisify(execFile)("cat", ["/proc/self/mountinfo"]);
  const mark = `/${pod.podSandboxId.slice(0, 12)}`;
  const slots = stdout.split("\n").flatMap((line) => line.split(" ")[4] ?? []);
  const [found] = slots.filter((path) => path.includes(mark) && path.endsWith("/slot-rw-0"));
  if (found === undefined) throw new Error(`no layer is mounted for ${pod.podSandboxId}`);
  return found;
}

async function nextContainer(pod: RunningPod, attempt: number): Promise<string> {
  const { podSandboxId } = pod;
  const { containerId } = await runtime().createContainer({
    podSandboxId,
    sandboxConfig: node.containerd.podConfig({ name: "again" }),
    config: {
      metadata: { name: "again", attempt },
      image: { image },
      command: ["sleep", "1000"],
      logPath: `again-${attempt}.log`,
      linux: {},
    },
  });
  await runtime().startContainer({ containerId });
  return containerId;
}
