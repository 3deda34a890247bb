import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { TrineError } from "@trine/base";
import { FakeAgent } from "@trine/guest-link/testing";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { EngineDeps } from "../deps.ts";
import type { Pod } from "../pod.ts";
import type { CreateTask } from "../requests.ts";
import { OnePod, SANDBOX } from "../testing/test-engine.ts";

type Roots = NonNullable<EngineDeps["roots"]>;
type Answer = Awaited<ReturnType<Roots["find"]>>;

let one: OnePod;
let agent: FakeAgent;
let asked: { containerd: string; id: string }[];
/** What the images' store says, by container. */
let answers: Record<string, Answer | Error>;

beforeEach(async () => {
  one = await OnePod.make({
    annotations: {
      "io.kubernetes.cri.container-type": "sandbox",
      "io.kubernetes.cri.sandbox-name": "pod1",
    },
    linux: { namespaces: ["network", "pid", "ipc", "uts", "mount"].map((type) => ({ type })) },
  });
  one.guestImage = () => Promise.resolve({ kernel: "/k", initrd: "/i", commandLine: "quiet" });
  one.shim.runtime = "containerd-shim-trine-microvm-v2";
  one.shim.tasks.add(SANDBOX);
  agent = new FakeAgent(join(one.podDir, "guest.sock"));
  await agent.listen();
  await writeFile(join(one.podDir, "containerd"), "unix:///run/c.sock\n");
  [asked, answers] = [[], {}];
  const file = join(one.dir, "image");
  await writeFile(file, "");
  one.roots = {
    find: ({ containerd, id }) => {
      asked.push({ containerd, id });
      const answer = answers[id] ?? { kind: "ready", image: file, upperDir: id };
      return answer instanceof Error ? Promise.reject(answer) : Promise.resolve(answer);
    },
    placeLayer: (upperDir) => Promise.resolve(upperDir === "old" ? undefined : file),
  };
});

afterEach(async () => {
  await one[Symbol.asyncDispose]();
  await agent.die();
});

async function podWith(...ids: string[]): Promise<Pod> {
  const pod = await one.engine().pod(one.ref);
  await pod.create({ ...(await taskOf(SANDBOX)), bundle: join(one.dir, "sandbox"), rootfs: [] });
  for (const id of ids) await pod.create(await taskOf(id));
  return pod;
}

async function taskOf(id: string): Promise<CreateTask> {
  const bundle = await one.bundle(id, { process: { args: ["sh"] }, mounts: [] });
  const rootfs = [{ type: "overlay", source: "overlay", target: "", options: [] }];
  return { id, bundle, rootfs, terminal: false, stdin: false };
}

const slotsDir = (): string => join(one.podDir, "slots");
const share = (id: string): string => join(one.podDir, "share", id, "rootfs");
const rootOf = (id: string): unknown => {
  const { root } = agent.containers.get(id) ?? {};
  return root && { lower: root.lower, upper: root.upper };
};
const remove = (pod: Pod, id: string): Promise<void> => pod.delete({ id, execId: "" });

test("containers of one image share its slot, and each has its own layer", async () => {
  const pod = await podWith("c1", "c2");
  expect(asked).toEqual(["c1", "c2"].map((id) => ({ containerd: "/run/c.sock", id })));
  expect(rootOf("c1")).toEqual({ lower: "slot-ro-0", upper: "slot-rw-0" });
  expect(rootOf("c2")).toEqual({ lower: "slot-ro-0", upper: "slot-rw-1" });
  expect([...one.driver.slots.keys()].sort()).toEqual(["slot-ro-0", "slot-rw-0", "slot-rw-1"]);
  expect(one.shim.mounted).not.toContain(share("c1"));
  await remove(pod, "c1");
  expect([...one.driver.slots.keys()].sort()).toEqual(["slot-ro-0", "slot-rw-1"]);
  await remove(pod, "c2");
  expect([...one.driver.slots.keys()]).toEqual([]);
  expect(one.shim.mounted).not.toContain(join(slotsDir(), "slot-ro-0"));
});

test("more containers than slots: the others' roots go through the share", async () => {
  await podWith("c1", "c2", "c3", "c4", "c5");
  expect(rootOf("c4")).toEqual({ lower: "slot-ro-0", upper: "slot-rw-3" });
  expect(rootOf("c5")).toBeUndefined();
  expect(one.shim.mounted).toContain(share("c5"));
});

test.each<[string, string, Answer | Error | undefined]>([
  ["there will be no file", "c1", { kind: "none", why: "docker's" }],
  ["the file could not be made in time", "c1", { kind: "building", ended: Promise.resolve() }],
  ["containerd does not answer", "c1", new TrineError("unavailable", "no containerd")],
  ["the container has written without a disk before", "old", undefined],
])("%s: the root goes through the share", async (_, id, answer) => {
  if (answer !== undefined) answers[id] = answer;
  await podWith(id);
  expect(rootOf(id)).toBeUndefined();
  expect(one.shim.mounted).toContain(share(id));
  expect(one.driver.slots.size).toBe(0);
});

test("a disk that something in the guest holds is left, and its slot not used again", async () => {
  const pod = await podWith("c1");
  agent.busy.add("slot-rw-0");
  await remove(pod, "c1");
  agent.busy.clear();
  expect([...one.driver.slots.keys()]).toEqual(["slot-rw-0"]);
  await pod.create(await taskOf("c2"));
  expect(rootOf("c2")).toEqual({ lower: "slot-ro-0", upper: "slot-rw-1" });
});

test("a disk that the VMM cannot flush does not keep its container, and its slot is not used again", async () => {
  const pod = await podWith("c1");
  one.driver.stuckSlots.set("slot-rw-0", new TrineError("wrongState", "Error flushing drive"));
  await remove(pod, "c1");
  await pod.create(await taskOf("c2"));
  expect(rootOf("c2")).toEqual({ lower: "slot-ro-0", upper: "slot-rw-1" });
  // A VMM that does not answer is another matter: it may yet let go.
  one.driver.stuckSlots.set("slot-rw-1", new TrineError("timeout", "no answer"));
  await expect(remove(pod, "c2")).rejects.toThrow(/no answer/);
});

test.each(["mount", "putState", "attachGuest"] as const)(
  "%s: a create that fails gives its slots back, and can be repeated",
  async (method) => {
    const pod = await podWith();
    one.shim.failOnce(method);
    const task = await taskOf("c1");
    await expect(pod.create(task)).rejects.toThrow(/injected/);
    expect(one.driver.slots.size).toBe(0);
    expect([...one.shim.mounted]).toEqual([join(one.podDir, "share"), slotsDir()]);
    await pod.create(task);
    expect(rootOf("c1")).toEqual({ lower: "slot-ro-0", upper: "slot-rw-0" });
  },
);
