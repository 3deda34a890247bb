// What a pod's guest leans on is taken from it on the node: its VMM's turn, its files, the room for what it writes.
import { mkdir, readdir, rm, statfs, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { messageOf, pollUntil } from "@trine/base";
import { PodSandboxState } from "@trine/proto/cri/api";
import { findProcesses, runCommand } from "@trine/testkit";
import type { TrineNode } from "@trine/testkit";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startMicrovmNode } from "./microvm-node.ts";
import { MICROVM, PodOfTest } from "./pod-pair.ts";

const MIB = 1 << 20;
/** Of containerd's store, in which lies what containers write. */
const STORE_BYTES = 160 * MIB;
/** What is left of it for a while. */
const LEFT_BYTES = 6 * MIB;

let node: TrineNode;
let image: string;

beforeAll(async () => {
  ({ node, image } = await startMicrovmNode());
  await smallStore();
}, 1_800_000);

afterAll(async () => {
  expect(await node.stop()).toEqual([]);
});

const store = (): string => join(node.containerd.dir, "root");

/** Moves containerd's store to a file system that can be filled without harm to others. */
async function smallStore(): Promise<void> {
  await node.containerd.kill9();
  const kept = join(node.dir, "store.tar");
  await runCommand("tar", ["-cf", kept, "-C", store(), "."]);
  await runCommand("mount", ["-t", "tmpfs", "-o", `size=${STORE_BYTES}`, "none", store()]);
  await runCommand("tar", ["-xf", kept, "-C", store()]);
  await rm(kept);
  await node.containerd.start();
}

function start(name: string): Promise<PodOfTest> {
  return PodOfTest.start(node, { handler: MICROVM, image, name });
}

/** The pod's one process of this program. */
async function processOf({ podSandboxId }: PodOfTest, program: string): Promise<number> {
  const found = (await findProcesses(podSandboxId)).filter(({ command }) =>
    (command.split(" ")[0] ?? "").endsWith(program),
  );
  expect(found).toHaveLength(1);
  return found[0]?.pid ?? 0;
}

async function untilNotReady({ podSandboxId }: PodOfTest): Promise<void> {
  await pollUntil("the sandbox is not ready", { ms: 60_000, everyMs: 200 }, async () => {
    const { status } = await node.containerd.cri.runtime.podSandboxStatus({ podSandboxId });
    return status?.state === PodSandboxState.SANDBOX_NOTREADY ? true : undefined;
  });
}

test("a guest that stands still: calls end by themselves, SIGKILL of a container ends it", async () => {
  const pod = await start("still");
  const container = await pod.run({});
  process.kill(await processOf(pod, "qemu-system-x86_64"), "SIGSTOP");
  expect(await pod.sh(container, "echo here").catch(messageOf)).toMatch(
    /no answer|in time|timeout/,
  );
  const { runtime } = node.containerd.cri;
  await runtime.stopContainer({ containerId: container.containerId, timeout: 0n });
  expect(await node.ended(container)).toMatchObject({ exitCode: 137 });
  await untilNotReady(pod);
  expect(await node.trinedLog(200)).toContain("the guest does not answer and is ended");
  await pod.remove();
}, 180_000);

test("a file server that is killed takes its guest along, and the log says so", async () => {
  const pod = await start("served");
  const container = await pod.run({});
  process.kill(await processOf(pod, "trine-p9"), "SIGKILL");
  expect(await node.ended(container)).toMatchObject({ exitCode: 137, reason: "Error" });
  await untilNotReady(pod);
  expect(await node.trinedLog(200)).toContain("the pod's file server has ended: so does its guest");
  await pod.remove();
}, 180_000);

test("a directory that is removed under a pod: its files are gone, the rest goes on and can be removed", async () => {
  const pod = await start("bare");
  const dir = join(node.dir, "volume");
  await mkdir(dir);
  await writeFile(join(dir, "file"), "here\n");
  const container = await pod.run({ mounts: [{ containerPath: "/v", hostPath: dir }] });
  expect(await pod.sh(container, "cat /v/file")).toBe("here\n");
  await rm(dir, { recursive: true });
  const look = "{ cat /v/file; echo x >/v/new; ls -A /v; echo alive; } 2>&1";
  expect(await pod.sh(container, look)).toMatch(
    /^cat: .*No such file[^]*\/v\/new: nonexistent directory\nalive\n$/,
  );
  await pod.remove();
}, 180_000);

test("a node without room: who writes is told, the pod goes on, and the next one starts when there is room", async () => {
  const pod = await start("full");
  const container = await pod.run({});
  await pollUntil("the image has its file", { ms: 60_000, everyMs: 200 }, async () =>
    (await readdir(join(node.rootDir, "roots"))).some((name) => name.endsWith(".erofs"))
      ? true
      : undefined,
  );
  const onDisk = await pod.run({});
  expect(
    await pod.sh(onDisk, "grep -c ' / overlay .*lowerdir=/run/trine/roots' /proc/mounts"),
  ).toBe("1\n");
  const write = "dd if=/dev/zero of=/big bs=1M count=64 conv=fsync 2>&1; echo wrote $?";
  await whileFull(async () => {
    for (const writer of [onDisk, container]) {
      expect(await pod.sh(writer, write)).toMatch(
        /(No space left|Input\/output error|Read-only)[^]*wrote 1/,
      );
    }
    expect(await pod.sh(onDisk, "echo alive")).toBe("alive\n");
  });
  await pod.remove();
  const next = await start("after");
  expect(await next.sh(await next.run({}), "echo x >/small && cat /small")).toBe("x\n");
  await next.remove();
}, 240_000);

/** Runs `act` while containerd's store has next to no room. */
async function whileFull(act: () => Promise<void>): Promise<void> {
  const ballast = join(store(), "ballast");
  const { bavail, bsize } = await statfs(store());
  await runCommand("fallocate", ["-l", `${bavail * bsize - LEFT_BYTES}`, ballast]);
  try {
    await act();
  } finally {
    await rm(ballast);
  }
}
