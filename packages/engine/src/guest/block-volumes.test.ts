import { readFile, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pollUntil } from "@trine/base";
import { FakeAgent } from "@trine/guest-link/testing";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { Pod } from "../pod.ts";
import type { CreateTask } from "../requests.ts";
import { OnePod, SANDBOX } from "../testing/test-engine.ts";

let one: OnePod;
let agent: FakeAgent;
/** Some block device of this machine; nothing is done with it. */
let disk: { major: number; minor: number; bytes: bigint };

beforeEach(async () => {
  one = await OnePod.make({
    annotations: { "io.kubernetes.cri.container-type": "sandbox" },
    linux: { namespaces: ["network", "pid", "ipc", "uts", "mount"].map((type) => ({ type })) },
  });
  one.guestImage = () => Promise.resolve({ kernel: "/k", initrd: "/i", commandLine: "quiet" });
  one.shim.runtime = "containerd-shim-trine-microvm-v2";
  one.shim.tasks.add(SANDBOX);
  agent = new FakeAgent(join(one.podDir, "guest.sock"));
  await agent.listen();
  const [first = ""] = await readdir("/sys/dev/block");
  const [major = 0, minor = 0] = first.split(":").map(Number);
  const sectors = await readFile(`/sys/dev/block/${first}/size`, "utf8");
  disk = { major, minor, bytes: BigInt(sectors.trim()) * 512n };
});

afterEach(async () => {
  await one[Symbol.asyncDispose]();
  await agent.die();
});

async function pod(): Promise<Pod> {
  const made = await one.engine().pod(one.ref);
  await made.create({ ...(await taskOf(SANDBOX)), bundle: join(one.dir, "sandbox"), rootfs: [] });
  return made;
}

async function taskOf(id: string, access?: string, paths = ["/dev/vol"]): Promise<CreateTask> {
  const { major, minor } = disk;
  const device = { type: "b", major, minor };
  const devices = access === undefined ? [] : paths.map((path) => ({ path, ...device }));
  const linux = { devices, resources: { devices: [{ allow: true, access, ...device }] } };
  const bundle = await one.bundle(id, { process: { args: ["sh"] }, mounts: [], linux });
  const rootfs = [{ type: "overlay", source: "overlay", target: "", options: [] }];
  return { id, bundle, rootfs, terminal: false, stdin: false };
}

const place = (slot: string): string => join(one.podDir, "slots", slot);
const serials = (id: string): unknown => agent.containers.get(id)?.devices.map((d) => d.serial);

test("containers of a pod share a device's slot, and it is empty when the last has gone", async () => {
  const made = await pod();
  await made.create(await taskOf("c1", "rw", ["/dev/a", "/dev/b"]));
  await made.create(await taskOf("c2", "r"));
  const [first] = agent.containers.get("c1")?.devices ?? [];
  expect(first).toMatchObject({ serial: "slot-rw-3", path: "/dev/a", sizeBytes: disk.bytes });
  expect(serials("c1")).toEqual(["slot-rw-3", "slot-rw-3"]);
  expect(serials("c2")).toEqual(["slot-rw-3"]);
  expect(agent.containers.get("c2")?.devices[0]?.access).toBe("r");
  expect(one.driver.slotBytes).toEqual(new Map([["slot-rw-3", Number(disk.bytes)]]));
  await made.delete({ id: "c1", execId: "" });
  expect([...one.driver.slots.keys()]).toEqual(["slot-rw-3"]);
  await made.delete({ id: "c2", execId: "" });
  expect(one.driver.slots.size).toBe(0);
  expect(one.shim.mounted).not.toContain(place("slot-rw-3"));
});

test("who only reads gets a disk that cannot be written", async () => {
  await (await pod()).create(await taskOf("c1", "r"));
  expect(serials("c1")).toEqual(["slot-ro-2"]);
  expect(one.driver.slotBytes.size).toBe(0);
});

test("who writes does not get another disk of what is being read: refused until that has ended", async () => {
  const made = await pod();
  await made.create(await taskOf("c1", "r"));
  const task = await taskOf("c2", "rw");
  await expect(made.create(task)).rejects.toThrow(
    /block device \/dev\/vol: another container of the pod reads it/,
  );
  expect([...one.driver.slots.keys()]).toEqual(["slot-ro-2"]);
  one.shim.tell({ case: "processExited", value: { id: "c1", exitStatus: 0 } });
  const created = await pollUntil("c2", { ms: 5_000, everyMs: 5 }, () =>
    made.create(task).then(
      () => true,
      () => undefined,
    ),
  );
  expect(created).toBe(true);
  expect(serials("c2")).toEqual(["slot-rw-3"]);
});

test("a root is not put where a volume was, and a volume goes where one was", async () => {
  const file = join(one.dir, "image");
  await writeFile(file, "");
  one.roots = {
    find: () => Promise.resolve({ kind: "ready", image: file, upperDir: "u" }),
    placeLayer: () => Promise.resolve(file),
  };
  const made = await pod();
  await made.create(await taskOf("v", "rw"));
  await made.delete({ id: "v", execId: "" });
  for (const id of ["c1", "c2", "c3", "c4"]) await made.create(await taskOf(id));
  const uppers = ["c1", "c2", "c3", "c4"].map((id) => agent.containers.get(id)?.root?.upper);
  expect(uppers).toEqual(["slot-rw-0", "slot-rw-1", "slot-rw-2", undefined]);
  await made.create(await taskOf("w", "rw"));
  expect(serials("w")).toEqual(["slot-rw-3"]);
});

test.each(["mount", "attachGuest"] as const)(
  "%s: a create that fails gives the volume back, and can be repeated",
  async (method) => {
    const made = await pod();
    one.shim.failOnce(method);
    const task = await taskOf("c1", "rw");
    await expect(made.create(task)).rejects.toThrow(/injected/);
    expect(one.driver.slots.size).toBe(0);
    expect([...one.shim.mounted]).toEqual([join(one.podDir, "share"), join(one.podDir, "slots")]);
    await made.create(task);
    expect(serials("c1")).toEqual(["slot-rw-3"]);
  },
);

test("a device that the node does not have is said so, and nothing is left", async () => {
  disk = { ...disk, major: 4000 };
  await expect((await pod()).create(await taskOf("c1", "rw"))).rejects.toThrow(
    /block device 4000:\d+ is not on this node/,
  );
  expect(one.driver.slots.size).toBe(0);
});
