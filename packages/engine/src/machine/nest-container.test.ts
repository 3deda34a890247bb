import { mkdir, readFile, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createOverlay } from "@trine/disk-images";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { Engine } from "../engine.ts";
import type { Pod } from "../pod.ts";
import type { CreateTask } from "../requests.ts";
import { OnePod } from "../testing/test-engine.ts";

const SIZE = { virtualSizeBytes: 8 * 1024 * 1024 };
const NAMESPACES = ["pid", "ipc", "uts", "mount", "network"].map((type) => ({ type }));

let one: OnePod;
let engine: Engine;

beforeEach(async () => {
  one = await OnePod.make({
    annotations: {
      "io.kubernetes.cri.container-type": "sandbox",
      "io.kubernetes.cri.sandbox-name": "pod1",
    },
    linux: { namespaces: NAMESPACES },
  });
  await writeFile(join(one.podDir, "containerd"), "/run/c.sock");
  engine = one.engine();
});

afterEach(() => one[Symbol.asyncDispose]());

async function container(
  name: string,
  options: { disk?: boolean; namespaces?: object[]; annotations?: object; cgroup?: string } = {},
): Promise<CreateTask> {
  const { disk = false, namespaces = NAMESPACES, annotations = {}, cgroup = "/p/c" } = options;
  const bundle = await one.bundle(name, {
    annotations: { "io.kubernetes.cri.container-name": name, ...annotations },
    linux: { namespaces, cgroupsPath: cgroup },
  });
  if (disk) {
    await mkdir(join(bundle, "rootfs/disk"));
    await createOverlay(join(bundle, "rootfs/disk/disk.qcow2"), SIZE);
  }
  one.shim.tasks.add(name);
  return { id: name, bundle, rootfs: [], terminal: false, stdin: false };
}

const pod = (): Promise<Pod> => engine.pod(one.ref);

test("a container without a disk goes to the nested shim, before the machine or after it", async () => {
  await (await pod()).create(await container("init"));
  await (await pod()).create(await container("vm", { disk: true }));
  await (await pod()).create(await container("web", { cgroup: "kubepods-x.slice:cri:c1" }));
  expect(one.shim.nested.map(({ id }) => id)).toEqual(["init", "web"]);
  expect(one.shim.nested.map(({ runcOptions }) => [...runcOptions])).toEqual([[], [72, 1]]);
  expect(one.shim.nested[0]).toMatchObject({
    program: process.execPath,
    containerd: "/run/c.sock",
  });
  expect((await pod()).summary().machine?.state).toBe("created");
  // Its image is the nested shim's to mount.
  expect([...one.shim.mounted]).toEqual([join(one.dir, "vm/rootfs")]);
  const spec = await readFile(join(one.dir, "web/config.json"), "utf8");
  expect(spec).toContain(`{"type":"ipc","path":"/proc/${process.pid}/ns/ipc"}`);
  expect((await readdir(join(one.dir, "web"))).sort()).toEqual(["config.json", "rootfs"]);
});

test("trine.dev/machine decides, and a second disk is refused with both names", async () => {
  const annotations = { "trine.dev/machine": "vm" };
  const second = await container("two", { disk: true, annotations });
  await expect((await pod()).create(second)).rejects.toThrow(
    /container two: .* machine, container vm/,
  );
  expect(one.shim.mounted.size).toBe(0);
  await (await pod()).create(await container("vm", { disk: true, annotations }));
  await expect((await pod()).create(second)).rejects.toThrow(
    /container two: .* machine, container vm/,
  );
});

test("which container is the machine is remembered while it starts anew", async () => {
  await (await pod()).create(await container("vm", { disk: true }));
  one.shim.tasks.delete("vm");
  await (await pod()).delete({ id: "vm", execId: "" });
  const other = await container("two", { disk: true });
  await expect((await pod()).create(other)).rejects.toThrow(
    /pod pod1 already has its machine, container vm/,
  );
});

test("a refused spec and a shim that fails leave the bundle as it was, and the next try does the rest", async () => {
  const host = await container("host", { namespaces: NAMESPACES.slice(1) });
  await expect((await pod()).create(host)).rejects.toThrow(/hostPID/);
  const web = await container("web");
  one.shim.failOnce("nest");
  await expect((await pod()).create(web)).rejects.toThrow(/injected/);
  (await pod()).detach();
  engine = one.engine();
  await (await pod()).create(web);
  expect(one.shim.nested.map(({ id }) => id)).toEqual(["web"]);
});

test("containers that share their processes share those of one pause process", async () => {
  const shared = NAMESPACES.map(({ type }) =>
    type === "pid" ? { type, path: `/proc/${process.pid}/ns/pid` } : { type },
  );
  for (const name of ["a", "b"]) {
    await (await pod()).create(await container(name, { namespaces: shared }));
  }
  expect([...one.shim.children.keys()]).toEqual(["pause"]);
  const path = `/proc/${String(one.shim.children.get("pause")?.pid)}/ns/pid`;
  for (const name of ["a", "b"]) {
    expect(await readFile(join(one.dir, name, "config.json"), "utf8")).toContain(path);
  }

  const again = await container("c", { namespaces: shared });
  one.shim.failOnce("nest");
  await expect((await pod()).create(again)).rejects.toThrow(/injected/);
  await (await pod()).create(again);
  expect(one.shim.nested.map(({ id }) => id)).toEqual(["a", "b", "c"]);
});

test("a pause process that has died is replaced, not named", async () => {
  const shared = NAMESPACES.map(({ type }) =>
    type === "pid" ? { type, path: `/proc/${process.pid}/ns/pid` } : { type },
  );
  await (await pod()).create(await container("a", { namespaces: shared }));
  const dead = one.shim.children.get("pause")?.pid;
  one.shim.end("pause", { exitStatus: 137, signal: 9 });
  await (await pod()).create(await container("b", { namespaces: shared }));
  const pid = one.shim.children.get("pause")?.pid;
  expect(pid).not.toBe(dead);
  const spec = await readFile(join(one.dir, "b", "config.json"), "utf8");
  expect(spec).toContain(`/proc/${String(pid)}/ns/pid`);
});
