import { createSocket } from "node:dgram";
import { once } from "node:events";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { pollUntil } from "@trine/base";
import { createOverlay } from "@trine/disk-images";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import type { Pod } from "../pod.ts";
import { OnePod, SANDBOX } from "../testing/test-engine.ts";

const PROCESS = { id: "c1", execId: "" };
let one: OnePod | undefined;

afterEach(() => one?.[Symbol.asyncDispose]());

/** A machine that passt carries, with these of the pod's ports. */
async function podOf(ports: readonly string[]): Promise<{ pod: Pod; one: OnePod }> {
  const annotations = {
    "io.kubernetes.cri.container-name": "main",
    "trine.dev/network-binding": "passt",
    "trine.dev/machine": "main",
    ...(ports.length === 0
      ? {}
      : { "trine.dev/ports": ports.map((port) => `main=${port}`).join(",") }),
  };
  const sandbox = { ...annotations, "io.kubernetes.cri.container-type": "sandbox" };
  one = await OnePod.make({ annotations: sandbox });
  one.shim.netns = "/proc/self/ns/net";
  const pod = await one.engine().pod(one.ref);
  const bundle = await one.bundle("c1", { hostname: "pod1", annotations, linux: {}, mounts: [] });
  await mkdir(join(bundle, "rootfs/disk"));
  await createOverlay(join(bundle, "rootfs/disk/disk.qcow2"), { virtualSizeBytes: 8 * 1024 ** 2 });
  await pod.create({
    id: SANDBOX,
    bundle: join(one.dir, "sandbox"),
    rootfs: [],
    terminal: false,
    stdin: false,
  });
  await pod.create({ id: "c1", bundle, rootfs: [], terminal: false, stdin: false });
  return { pod, one };
}

const start = (pod: Pod): Promise<unknown> => pod.start(PROCESS, AbortSignal.timeout(60_000));

function untilPassts({ shim }: OnePod, count: number): Promise<true> {
  return pollUntil(`passt was started ${count} times`, { ms: 30_000 }, () => {
    const of = shim.spawned.filter(({ key }) => key === "passt");
    return of.length >= count && shim.children.get("passt")?.running === true ? true : undefined;
  });
}

test("a TCP port at which another process listens is not taken for passt's: the start fails by its name", async () => {
  const server = createServer().listen(0);
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const made = await podOf([`${port}`]);
  await expect(start(made.pod)).rejects.toThrow(`port ${port}/tcp is the machine's`);
  expect(made.one.shim.children.get("passt")?.running).not.toBe(true);
  server.close();
});

test("the same of UDP", async () => {
  const socket = createSocket("udp6").bind(0);
  await once(socket, "listening");
  const { port } = socket.address();
  const made = await podOf([`${port}/udp`]);
  await expect(start(made.pod)).rejects.toThrow(`port ${port}/udp is the machine's`);
  socket.close();
});

test("passt that ends is started again under a machine that is paused, too, and again when that failed", async () => {
  const made = await podOf([]);
  await start(made.pod);
  await untilPassts(made.one, 1);
  await made.pod.pause("c1", AbortSignal.timeout(60_000));
  made.one.shim.end("passt", { exitStatus: 1 });
  await untilPassts(made.one, 2);
  made.one.shim.failOnce("spawn");
  made.one.shim.end("passt", { exitStatus: 1 });
  await untilPassts(made.one, 3);
  // The pod's queue is free meanwhile, and the machine's end is the loop's.
  made.one.shim.end("passt", { exitStatus: 1 });
  made.one.shim.end("vmm", { exitStatus: 0 });
  await made.pod.delete(PROCESS);
});
