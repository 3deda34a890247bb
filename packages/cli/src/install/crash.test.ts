// An installation that is interrupted between any two of its changes.
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { applyPlan, makePlan, undoAll } from "./apply.ts";
import { lookAtContainerd } from "./containerd-facts.ts";
import { gvisorSteps } from "./gvisor-steps.ts";
import { NodeFiles } from "./node-files.ts";
import { findNodeKind } from "./node-kind.ts";
import { planInstall } from "./plan-install.ts";
import { readRecord } from "./record.ts";
import { handlerTables, makeGvisor, makeRoot, memoryDir, treeOf } from "./testing.ts";

/** Some fifty nodes. */
const SLOW = { timeout: 120_000 };
const CRASH = new Error("crash");
const CONFIG = 'version = 2\n[plugins."io.containerd.nri.v1.nri"]\n  disable = true';
const WISHES = { gateway: true, lxcfs: true, gvisor: true, prefix: "/usr/local" };

let dir: string;

beforeEach(async () => {
  dir = await memoryDir();
  await makeGvisor(join(dir, "gvisor"));
});
afterEach(() => rm(dir, { recursive: true }));

/** A node with something in each place that is changed. */
async function newNode(name: string): Promise<string> {
  const root = join(dir, name);
  await makeRoot(root, {
    "/etc/containerd/config.toml": CONFIG,
    "/etc/trine/runtimeclasses.yaml": "# mine\n",
    "/usr/bin/lxcfs": "",
  });
  return root;
}

/** Throws before its change number `at`; counts on. */
function crashing(root: string, at: number): { files: NodeFiles; count: () => number } {
  let count = 0;
  const files = new NodeFiles(root, () => {
    if (count++ === at) throw CRASH;
  });
  return { files, count: () => count };
}

async function install(files: NodeFiles): Promise<number> {
  const kind = await findNodeKind(files);
  const containerd = await lookAtContainerd(files, kind, { major: 1, minor: 7 });
  const facts = { kind, containerd, hasLxcfs: true, kubeletCommand: "/usr/bin/kubelet $ARGS" };
  const { steps } = planInstall(facts, WISHES, {
    tables: await handlerTables(),
    runtimeClasses: "kind: RuntimeClass\n",
    programs: gvisorSteps("/usr/local", { dir: join(dir, "gvisor") }),
  });
  const plan = await makePlan(files, steps);
  await applyPlan(files, plan, { steps, wishes: WISHES, now: 1 });
  return plan.changes.length + plan.gone.length;
}

async function uninstall(files: NodeFiles): Promise<void> {
  await undoAll(files, await readRecord(files), () => Promise.resolve());
}

test(
  "an installation that crashed anywhere goes on when it is run again, and can be undone",
  SLOW,
  async () => {
    const whole = crashing(await newNode("whole"), -1);
    const before = await treeOf(whole.files.root);
    await install(whole.files);
    const after = await treeOf(whole.files.root);
    expect(whole.count()).toBeGreaterThan(20);
    for (let at = 0; at < whole.count(); at++) {
      const root = await newNode(`n${at}`);
      await expect(install(crashing(root, at).files)).rejects.toBe(CRASH);
      const files = new NodeFiles(root);
      if (at % 2 === 0) {
        await install(files);
        expect([at, await treeOf(root)]).toEqual([at, after]);
        expect(await install(files)).toBe(0);
      }
      await uninstall(files);
      expect([at, await treeOf(root)]).toEqual([at, before]);
    }
  },
);

test("an undoing that crashed anywhere goes on when it is run again", SLOW, async () => {
  const whole = crashing(await newNode("whole"), -1);
  const before = await treeOf(whole.files.root);
  await install(whole.files);
  const installing = whole.count();
  await uninstall(whole.files);
  const undoing = whole.count() - installing;
  expect(undoing).toBeGreaterThan(10);
  for (let at = 0; at < undoing; at++) {
    const root = await newNode(`u${at}`);
    await install(new NodeFiles(root));
    await expect(uninstall(crashing(root, at).files)).rejects.toBe(CRASH);
    await uninstall(new NodeFiles(root));
    expect([at, await treeOf(root)]).toEqual([at, before]);
  }
});

test("a link on the way leads where it does for the node", async () => {
  const root = await newNode("links");
  await makeRoot(root, { "/a/real": "text", "/a/abs": "-> /a/real", "/b": "-> ../../../a" });
  const files = new NodeFiles(root);
  expect(await files.read("/b/abs")).toBe("text");
  await files.write("/b/abs", "other");
  expect((await treeOf(join(root, "a")))["/real"]).toBe("644 other");
  await makeRoot(root, { "/l1": "-> /l2", "/l2": "-> /l1" });
  await expect(files.read("/l1")).rejects.toThrow(/too many symbolic links/);
});
