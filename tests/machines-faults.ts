// What dies while a machine starts or runs: the control plane, trined, the API server. Nothing is lost, nothing is there twice.
import { randomInt } from "node:crypto";
import { sleep } from "@trine/base";
import type { KubeCluster } from "@trine/testkit";
import { expect, test } from "vitest";
import {
  type Instance,
  LONG_MS,
  type MachinesUnderTest,
  READY,
  machine,
} from "./machines-under-test.ts";
import { SOAK } from "./node-under-test.ts";

const ROUNDS = SOAK ? 20 : 1;
/** Within it the pod is made, and the machine. */
const START_MS = 6_000;

/** One instance, one pod, both as they were made first. */
async function once(at: MachinesUnderTest, name: string): Promise<{ vmi: string; pod: string }> {
  const { metadata } = await at.instance(name);
  const pod = await at.pod(name);
  const made = (await at.events(name))
    .filter(({ reason }) => reason === "SuccessfulCreate")
    .map(({ message }) => message)
    .filter((message) => message.includes("pod"));
  expect(new Set(made).size).toBeLessThanOrEqual(1);
  return { vmi: metadata.uid ?? "", pod: pod.metadata.uid ?? "" };
}

export function faultTests(at: () => MachinesUnderTest): void {
  test.each([
    {
      who: "the control plane",
      name: "killed",
      isBegun: () => true,
      kill: async ({ control }: KubeCluster): Promise<void> => {
        await control.kill();
        await control.startProgram();
      },
    },
    {
      who: "trined",
      name: "orphan",
      isBegun: ({ status }: Instance) => status?.nodeName !== undefined,
      kill: async ({ node }: KubeCluster): Promise<void> => {
        await node.killTrined();
        await node.startTrined();
      },
    },
  ])(
    "$who is killed while a machine starts, and the machine is there once",
    async ({ name: word, isBegun, kill }) => {
      for (let round = 0; round < ROUNDS; round++) {
        const name = `${word}-${round}`;
        await at().create(machine(name, "Always"));
        await at().untilInstance(name, "on its way", isBegun);
        // The moment is the test's, not a condition that is waited for.
        await sleep(randomInt(START_MS));
        await kill(at().cluster);
        await at().booted(name);
        await at().untilShown(name, "Running");
        await once(at(), name);
        await at().delete("vm", name);
        expect(await at().pods(name)).toEqual([]);
      }
    },
    ROUNDS * 2 * LONG_MS,
  );

  test(
    "a machine runs on while the API server is away, and is told of when it is back",
    async () => {
      const { plane } = at().cluster;
      await at().create(machine("stays", "Always"));
      await at().booted("stays");
      const before = await once(at(), "stays");
      const console_ = await at().console("stays");
      console_.send("echo $((20 + 3))-before\n");
      await console_.until("23-before");
      await plane.endApi();
      await console_.closed;
      await plane.startApi();
      await at().cluster.control.untilServing();
      const again = await at().console("stays");
      again.send("echo $((20 + 4))-after\n");
      await again.until("24-after");
      expect(await once(at(), "stays")).toEqual(before);
      expect((await at().log("stays")).match(new RegExp(READY, "g"))).toHaveLength(1);
      // What was asked of it meanwhile would not be lost either: the control plane hears and acts again.
      expect((await at().virtctl.stop("stays")).code).toBe(202);
      await at().untilShown("stays", "Stopped");
      await at().delete("vm", "stays");
    },
    3 * LONG_MS,
  );
}
