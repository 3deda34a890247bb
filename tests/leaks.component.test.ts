// Pods come and go, in good order and in bad: the node is afterwards as it was before.
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { pollUntil } from "@trine/base";
import { PodSandboxState } from "@trine/proto/cri/api";
import { type LeakCheck, type RunningPod, findProcesses } from "@trine/testkit";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { NodeUnderTest, SOAK } from "./node-under-test.ts";

const ROUNDS = SOAK ? 200 : 20;
/** Descriptors Node opens and closes as it likes (timers, worker pools). */
const FD_SLACK = 3;

/** Freezes one process, in a group below its own (cgroup v1). The answer thaws it. */
async function freeze(pid: number): Promise<() => Promise<void>> {
  const groups = await readFile(`/proc/${pid}/cgroup`, "utf8");
  const [, path = ""] = /^\d+:freezer:(.*)$/m.exec(groups) ?? [];
  const dir = `/sys/fs/cgroup/freezer${path}/frozen`;
  await mkdir(dir);
  await writeFile(`${dir}/cgroup.procs`, `${pid}`);
  await writeFile(`${dir}/freezer.state`, "FROZEN");
  await pollUntil("it is frozen", { ms: 10_000 }, async () =>
    (await readFile(`${dir}/freezer.state`, "utf8")).trim() === "FROZEN" ? true : undefined,
  );
  return () => writeFile(`${dir}/freezer.state`, "THAWED");
}

describe.each(["1.6", "2.4"] as const)("create and delete under containerd %s", (version) => {
  let at: NodeUnderTest;
  let leaks: LeakCheck;
  let shimFree: number;

  beforeAll(async () => {
    at = await NodeUnderTest.start(version);
    leaks = await at.podLeakCheck();
    shimFree = (await at.trinedFds()).length;
  }, 1_800_000);

  afterAll(() => at.end());

  /** containerd may refuse as long as its shim's clean-up fails. */
  const tryRemove = (pod: RunningPod): Promise<true | undefined> =>
    at.node.remove(pod).then(
      () => true,
      () => undefined,
    );

  /** Again and again, as kubelet does. */
  const removed = (pod: RunningPod): Promise<true> =>
    pollUntil("the pod is removed", { ms: 30_000, everyMs: 500 }, () => tryRemove(pod));

  /** Ways for a pod to go, taken in turn. Each ends with the pod removed. */
  const ways: readonly { readonly name: string; readonly go: (name: string) => Promise<void> }[] = [
    {
      name: "after its boot",
      go: async (name) => at.node.remove(await at.booted(name)),
    },
    {
      name: "during its boot",
      go: async (name) => at.node.remove(await at.machine(name)),
    },
    {
      name: "by the death of its shim",
      go: async (name) => {
        const pod = await at.machine(name);
        process.kill((await at.view(pod)).shim.pid, "SIGKILL");
        await at.node.ended(pod);
        await at.node.remove(pod);
      },
    },
    {
      name: "during its boot, forced",
      go: async (name) => {
        const pod = await at.machine(name);
        await at.runtime.stopContainer({ containerId: pod.containerId, timeout: 0n });
        await at.runtime.removeContainer({ containerId: pod.containerId });
        await at.node.remove(pod);
      },
    },
    {
      name: "while the daemon is down",
      go: async (name) => {
        const pod = await at.machine(name);
        await at.node.killTrined();
        const removal = at.node.remove(pod);
        // Either it goes through without the daemon, or it waits for it; never for ever.
        await Promise.race([removal, pollUntil("a moment", { ms: 0 }, () => true)]);
        await at.node.startTrined();
        await removal;
      },
    },
    {
      name: "by the death of its shim while the daemon is down",
      go: async (name) => {
        const pod = await at.machine(name);
        const { shim } = await at.view(pod);
        await at.node.killTrined();
        process.kill(shim.pid, "SIGKILL");
        await at.node.ended(pod);
        await at.node.remove(pod);
        await at.node.startTrined();
      },
    },
    {
      name: "with processes that do not end in time",
      go: async (name) => {
        const pod = await at.machine(name);
        const { shim } = await at.view(pod);
        // A frozen process does not even take a SIGKILL.
        const vmm = await at.vmm(pod);
        const thaw = await freeze(vmm);
        let gone: true | undefined;
        try {
          process.kill(shim.pid, "SIGKILL");
          // Said once the shim's own clean-up has given up.
          await pollUntil("the sandbox is dead", { ms: 30_000 }, async () => {
            const { status } = await at.runtime.podSandboxStatus(pod);
            return status?.state === PodSandboxState.SANDBOX_NOTREADY ? true : undefined;
          });
          gone = await tryRemove(pod);
          process.kill(vmm, 0); // it lives, and throws here when not
        } finally {
          await thaw();
        }
        if (!gone) await removed(pod);
      },
    },
    {
      name: "before it has a machine",
      go: async (name) => {
        const config = at.node.containerd.podConfig({ name });
        const pod = await at.runtime.runPodSandbox({ config, runtimeHandler: "trine-vm" });
        await at.node.remove(pod);
      },
    },
  ];

  async function expectClean(): Promise<void> {
    expect(await leaks.leaks(10_000)).toEqual([]);
    expect(await at.views()).toEqual([]);
    expect((await at.runtime.listPodSandbox({})).items).toEqual([]);
    const fds = await pollUntil("descriptors are closed", { ms: 10_000 }, async () => {
      const now = await at.trinedFds();
      return now.length <= shimFree + FD_SLACK ? now : undefined;
    });
    expect(fds.length).toBeLessThanOrEqual(shimFree + FD_SLACK);
  }

  test.each(ways)("a pod that goes $name leaves nothing", async ({ go }) => {
    await go("one");
    await expectClean();
  });

  test(
    `${ROUNDS} pods leave nothing`,
    async () => {
      for (let round = 0; round < ROUNDS; round += 1) {
        // Every second one is the plainest: in the middle of its boot.
        const way = round % 2 === 0 ? ways[1] : ways[Math.floor(round / 2) % ways.length];
        await way?.go(`round-${round}`);
      }
      await expectClean();
      expect(await findProcesses(`${at.node.stateDir}/pods`)).toEqual([]);
    },
    ROUNDS * 60_000,
  );

  test("five pods at once, all removed at once, leave nothing", async () => {
    const names = ["a", "b", "c", "d", "e"];
    const pods = await Promise.all(names.map((name) => at.machine(name, { memory: "64Mi" })));
    await Promise.all(pods.map((pod) => at.node.remove(pod)));
    await expectClean();
  });
});
