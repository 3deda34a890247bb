// Block volumes (volumeMode: Block), as kubelet and ctr give them: the same containers under runc and in a microvm.
import { mkdir, symlink } from "node:fs/promises";
import { join } from "node:path";
import { messageOf, pollUntil } from "@trine/base";
import { runCommand } from "@trine/testkit";
import type { RunningPod, TrineNode } from "@trine/testkit";
import { afterAll, beforeAll, expect, test } from "vitest";
import { LoopDevice } from "./loop-device.ts";
import { startMicrovmNode } from "./microvm-node.ts";
import { MICROVM, PodOfTest, PodPair } from "./pod-pair.ts";
import type { Both } from "./pod-pair.ts";

const MIB = 1024 * 1024;
const MS = 240_000;
const SIZE = "blockdev --getsize64 /dev/vol";

let node: TrineNode;
let image: string;
let pair: PodPair;
let dir: string;
const loops: LoopDevice[] = [];

beforeAll(async () => {
  ({ node, image } = await startMicrovmNode());
  dir = join(node.dir, "volumes");
  await mkdir(dir);
  pair = await PodPair.start(node, image, { name: "devices" });
}, 1_800_000);

afterAll(async () => {
  await pair.remove();
  for (const loop of loops) await loop[Symbol.asyncDispose]();
  expect(await node.stop()).toEqual([]);
});

async function loopDevice(name: string, text = ""): Promise<LoopDevice> {
  const loop = await LoopDevice.make(join(dir, name), 4 * MIB, text);
  loops.push(loop);
  return loop;
}

/** A container of the microvm pod. */
function inGuest(...paths: string[]): Promise<RunningPod> {
  const devices = paths.map((hostPath, index) => ({
    hostPath,
    containerPath: index === 0 ? "/dev/vol" : `/dev/vol${index}`,
    permissions: "mrw",
  }));
  return pair.microvm.run({ devices });
}

async function remove({ containerId }: RunningPod): Promise<void> {
  const { runtime } = node.containerd.cri;
  await runtime.stopContainer({ containerId, timeout: 0n });
  await runtime.removeContainer({ containerId });
}

/** What the same script prints where each pod has a device of its own, equal but for that. */
async function both(name: string, permissions: string, script: string): Promise<Both<string>> {
  const one = async (pod: PodOfTest): Promise<string> => {
    const loop = await loopDevice(`${name}-${pod.handler}`, "first of the volume");
    const link = join(dir, `${name}-link-${pod.handler}`);
    await symlink(loop.path, link); // as kubelet names it
    const devices = [{ hostPath: link, containerPath: "/dev/vol", permissions }];
    const container = await pod.run({ devices });
    const seen = await pod.sh(container, script);
    await remove(container);
    return `${seen}on the node: ${await loop.read(512, 7)}\n`;
  };
  return { runc: await one(pair.runc), microvm: await one(pair.microvm) };
}

const READ_AND_WRITE = [
  SIZE,
  "stat -c '%F %a %u:%g' /dev/vol; head -c 19 /dev/vol; echo",
  "printf written | dd of=/dev/vol bs=512 seek=1 conv=notrunc,fsync 2>&1 | grep -v bytes",
  "dd if=/dev/vol bs=512 skip=1 count=1 2>/dev/null | head -c 7 | tr '\\0' .; echo",
  "dd if=/dev/zero of=/dev/vol bs=1M count=5 seek=4 2>&1 | head -n 1",
].join("\n");

test(
  "a volume has its size, its node and its bytes, and keeps what is written",
  async () => {
    const { runc, microvm } = await both("rw", "mrw", READ_AND_WRITE);
    expect(microvm).toBe(runc);
    expect(runc).toContain(`${4 * MIB}\nblock special file`);
    expect(runc).toContain("written\ndd:");
    expect(runc).toContain("on the node: written\n");
  },
  MS,
);

test(
  "a volume that may only be read is not written, whatever the guest does",
  async () => {
    const { runc, microvm } = await both("ro", "r", READ_AND_WRITE);
    expect(microvm).toBe(runc);
    expect(runc).toContain("not permitted");
    expect(runc).not.toContain("written");
  },
  MS,
);

test(
  "grows under its container, also when the daemon was killed, and is the pod's alone until it is given back",
  async () => {
    const loop = await loopDevice("grows", "before");
    const [first, second] = [await inGuest(loop.path), await inGuest(loop.path)];
    const sees = (bytes: number): Promise<true> =>
      pollUntil(`${bytes} bytes`, { ms: 60_000, everyMs: 500 }, async () =>
        (await pair.microvm.sh(first, SIZE)) === `${bytes}\n` ? true : undefined,
      );
    await sees(4 * MIB);
    await loop.grow(6 * MIB);
    await sees(6 * MIB);
    await pair.microvm.sh(first, "printf shared | dd of=/dev/vol bs=1M seek=5 conv=fsync");
    expect(await pair.microvm.sh(second, "tail -c 1048576 /dev/vol | head -c 6")).toBe("shared");

    const other = await PodOfTest.start(node, {
      name: "other",
      handler: MICROVM,
      image,
    });
    const devices = [{ hostPath: loop.path, containerPath: "/dev/vol", permissions: "mrw" }];
    await expect(other.run({ devices })).rejects.toThrow(/in use.*disk of another machine/);
    await expect(runCommand("mount", [loop.path, dir])).rejects.toThrow(/busy|already mounted/);

    await node.killTrined();
    await node.startTrined();
    await loop.grow(8 * MIB);
    await sees(8 * MIB);
    expect(await pair.microvm.sh(second, "head -c 6 /dev/vol")).toBe("before");

    await remove(first);
    await expect(other.run({ devices })).rejects.toThrow(/in use/);
    await remove(second);
    const taken = await other.run({ devices });
    expect(await other.sh(taken, `${SIZE}; head -c 6 /dev/vol`)).toBe(`${8 * MIB}\nbefore`);
    // A smaller one in the same slot, then a container without one: each sees what is its own.
    const small = await loopDevice("small", "small");
    const next = await inGuest(small.path);
    expect(await pair.microvm.sh(next, `${SIZE}; head -c 5 /dev/vol`)).toBe(`${4 * MIB}\nsmall`);
    await remove(next);
    expect(
      await pair.microvm.sh(await pair.microvm.run({}), "ls /dev/vol 2>&1; echo x >/x"),
    ).toMatch(/No such file/);
    await other.remove();
  },
  2 * MS,
);

test(
  "one that is only read grows under its container, which goes on reading, and its next one has it at once",
  async () => {
    const loop = await loopDevice("grows-ro", "before");
    const devices = [{ hostPath: loop.path, containerPath: "/dev/vol", permissions: "r" }];
    // It has the device open all the time.
    const script =
      "exec 3</dev/vol; while :; do dd if=/dev/vol bs=6 count=1 2>/dev/null; echo; sleep 1; done";
    const container = await pair.microvm.run({ devices, command: ["/bin/sh", "-c", script] });
    const sees = (bytes: number): Promise<true> =>
      pollUntil(`${bytes} bytes`, { ms: 60_000, everyMs: 500 }, async () =>
        (await pair.microvm.sh(container, SIZE)) === `${bytes}\n` ? true : undefined,
      );
    await sees(4 * MIB);
    for (const size of [6, 8]) {
      await loop.grow(size * MIB);
      await loop.write(`end of ${size}`, size * MIB - 512);
      await sees(size * MIB);
      const end = `tail -c 512 /dev/vol | head -c 8`;
      expect(await pair.microvm.sh(container, end)).toMatch(new RegExp(`^end of ${size}`));
    }
    const write = "echo x | dd of=/dev/vol bs=2 count=1 2>&1";
    expect(await pair.microvm.sh(container, write)).toContain("not permitted");
    expect(new Set((await node.output(container)).trim().split("\n"))).toEqual(new Set(["before"]));
    const next = await pair.microvm.run({ devices });
    expect(await pair.microvm.sh(next, SIZE)).toBe(`${8 * MIB}\n`);
    await Promise.all([container, next].map(remove));
    expect(await loop.read(0, 6)).toBe("before");
  },
  2 * MS,
);

test(
  "what no guest can be given is refused by name, and a failure gives its disk back",
  async () => {
    const loop = await loopDevice("refused");
    const control = { hostPath: "/dev/loop-control", containerPath: "/dev/ctl", permissions: "rw" };
    await expect(pair.microvm.run({ devices: [control] })).rejects.toThrow(
      /device \/dev\/ctl: character devices of the node.*block devices.*can/,
    );
    const volume = { hostPath: loop.path, containerPath: "/dev/vol", permissions: "mrw" };
    const bad = { devices: [volume], command: ["/no/such/program"] };
    await expect(pair.microvm.run(bad)).rejects.toThrow(/no\/such\/program/);
    const many = await Promise.all([1, 2, 3, 4, 5].map((n) => loopDevice(`many-${n}`)));
    await expect(inGuest(...many.map(({ path }) => path))).rejects.toThrow(
      /block device \/dev\/vol\d: all disks of the microVM that are writable are in use/,
    );
    // All of them are free: a file system can be made and mounted.
    for (const { path } of [loop, ...many]) await runCommand("mkfs.ext4", ["-q", path]);
  },
  MS,
);

test(
  "ctr run --device",
  async () => {
    const loop = await loopDevice("ctr", "by ctr");
    const run = ["run", "--rm", "--runtime", "io.containerd.trine-microvm.v2"];
    const words = [...run, "--device", loop.path, image, "dev"];
    const script = `blockdev --getsize64 ${loop.path}; head -c 6 ${loop.path}`;
    const seen = await node.containerd.ctr(...words, "sh", "-c", script).catch(messageOf);
    expect(seen).toBe(`${4 * MIB}\nby ctr`);
  },
  MS,
);
