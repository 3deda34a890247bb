// The daemons die, the machines do not: kills at random moments, alone and together (decision 5).
import { readFile } from "node:fs/promises";
import { pollUntil, sleep } from "@trine/base";
import { type RunningPod, TrineNode, findProcesses, tinyGuestImage } from "@trine/testkit";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

const BOOT_MS = 90_000;
const READY = /TINY-GUEST READY ip=(\S+)/;
const ROUNDS = process.env["TRINE_SOAK"] === undefined ? 3 : 30;
const ROUNDS_MS = 120_000 + ROUNDS * 20_000;
/** What containerd may lose of its own log when it is killed (decision 5). */
const CONTAINERD_LOSS = 20 * 1024;

interface PodView {
  sandboxId: string;
  machine?: { pid: number; state: string; consoleLog: string };
}

describe.each(["1.6", "2.4"] as const)("restarts under containerd %s", (version) => {
  let node: TrineNode;
  let tiny: string;
  /** Random moments, but the same ones in every run. */
  let seed = 20_261_121;
  const random = (): number => {
    seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31;
    return seed / 2 ** 31;
  };

  beforeAll(async () => {
    const image = await tinyGuestImage();
    tiny = image.name;
    node = await TrineNode.start({ version });
    await node.containerd.importImage(image);
  }, 1_800_000);

  afterAll(async () => {
    expect(await node.stop()).toEqual([]);
  });

  const runtime = (): TrineNode["containerd"]["cri"]["runtime"] => node.containerd.cri.runtime;

  function machine(name: string): Promise<RunningPod> {
    const annotations = { "trine.dev/memory": "128Mi" };
    return node.run({ name, image: tiny, annotations, tty: true, stdin: true });
  }

  async function view(pod: RunningPod): Promise<PodView["machine"]> {
    const { items } = JSON.parse((await node.api("/v1/pods")).body) as { items: PodView[] };
    return items.find((item) => item.sandboxId === pod.podSandboxId)?.machine;
  }

  async function type(pod: RunningPod, line: string): Promise<void> {
    const { containerId } = pod;
    const session = await node.containerd.cri.attach({
      containerId,
      tty: true,
      stdin: true,
      stdout: true,
    });
    session.stdout?.resume();
    session.stdin?.write(`${line}\n`);
    await sleep(300);
    session.close();
  }

  function numbers(text: string): number[] {
    return [...text.matchAll(/^line (\d+)/gm)].map((match) => Number(match[1]));
  }

  test(
    "the console loses nothing while trined and containerd die and return",
    async () => {
      const pod = await machine("console");
      await node.untilOutput(pod, READY, BOOT_MS);
      const before = await view(pod);
      const lines = ROUNDS * 60;
      await type(
        pod,
        `i=0; while [ $i -lt ${lines} ]; do echo line $i; i=$((i+1)); sleep 0.1; done; echo all-said`,
      );
      for (let round = 0; round < ROUNDS; round += 1) {
        const what = round % 3;
        await sleep(random() * 1_500);
        if (what !== 1) await node.killTrined();
        if (what !== 0) await node.containerd.kill9();
        await sleep(random() * 1_500);
        if (what !== 0) await node.containerd.start();
        if (what !== 1) await node.startTrined();
      }
      const consoleLog = (await view(pod))?.consoleLog ?? "";
      const ours = await pollUntil(
        "the guest has said all",
        { ms: ROUNDS_MS, everyMs: 200 },
        async () => {
          const text = (await readFile(consoleLog, "utf8")).replaceAll("\r", "");
          return text.includes("\nall-said") ? text : undefined;
        },
      );
      expect(numbers(ours)).toEqual(Array.from({ length: lines }, (_, i) => i));

      const theirs = await node.untilOutput(pod, "\nall-said");
      expect(theirs.length).toBeGreaterThan(ours.length - CONTAINERD_LOSS * ROUNDS);
      expect((await view(pod))?.pid).toBe(before?.pid);
      await node.remove(pod);
    },
    ROUNDS_MS,
  );

  test("an exec that runs while trined dies keeps its output and status, once", async () => {
    const pod = await machine("exec");
    await node.untilOutput(pod, READY, BOOT_MS);
    const cmd = ["/bin/sh", "-c", "echo x >>/tmp/once; sleep 4; cat /tmp/once; exit 9"];
    const running = runtime().execSync({ containerId: pod.containerId, cmd, timeout: 60n });
    await sleep(1_500);
    await node.killTrined();
    await node.startTrined();
    const answer = await running;
    expect(answer.exitCode).toBe(9);
    expect(Buffer.from(answer.stdout).toString()).toBe("x\n");
    await node.remove(pod);
  });

  test("an exit while trined is away is reported with its status, and stop and rm work after", async () => {
    const pod = await machine("away");
    await node.untilOutput(pod, READY, BOOT_MS);
    await node.killTrined();
    await type(pod, "poweroff -f");
    const status = await node.ended(pod).finally(() => node.startTrined());
    expect(status).toMatchObject({ exitCode: 0, reason: "Completed" });
    await node.remove(pod);
  });

  test("a stop that trined did not live to finish goes on", async () => {
    const pod = await machine("stop");
    await node.untilOutput(pod, READY, BOOT_MS);
    await node.killTrined();
    const stopping = runtime().stopContainer(
      { containerId: pod.containerId, timeout: 60n },
      { timeoutMs: 90_000 },
    );
    await node.startTrined();
    await stopping;
    const { status } = await runtime().containerStatus({ containerId: pod.containerId });
    expect(status?.exitCode).toBe(0);
    await node.remove(pod);
  });

  test(
    "a pod is made although trined dies in the middle of its creation",
    async () => {
      for (let round = 0; round < ROUNDS; round += 1) {
        const making = machine(`making-${round}`);
        await sleep(random() * 600);
        await node.killTrined();
        await node.startTrined();
        const pod = await making;
        await node.untilOutput(pod, READY, BOOT_MS);
        const vmms = await findProcesses(pod.podSandboxId);
        expect(vmms.filter((found) => found.command.includes("qemu-system")).length).toBe(1);
        await node.remove(pod);
      }
    },
    ROUNDS_MS,
  );

  test("a killed VMM ends its container truthfully", async () => {
    const pod = await machine("vmm");
    await node.untilOutput(pod, READY, BOOT_MS);
    process.kill((await view(pod))?.pid ?? Number.NaN, "SIGKILL");
    const status = await node.ended(pod);
    expect(status).toMatchObject({ exitCode: 137, reason: "Error" });
    await node.remove(pod);
  });

  test("a killed shim ends its pod with nothing left", async () => {
    const pod = await machine("shim");
    await node.untilOutput(pod, READY, BOOT_MS);
    const [shim] = (await findProcesses(node.stateDir)).filter((found) =>
      found.command.includes("containerd-shim-trine"),
    );
    const vmm = (await view(pod))?.pid ?? 0;
    process.kill(shim?.pid ?? Number.NaN, "SIGKILL");
    await node.ended(pod);
    await pollUntil("the VMM is gone", { ms: 20_000 }, async () =>
      (await findProcesses(pod.podSandboxId)).some((found) => found.pid === vmm) ? undefined : true,
    );
    await node.remove(pod);
    const { items } = JSON.parse((await node.api("/v1/pods")).body) as { items: PodView[] };
    expect(items).toEqual([]);
  });

  test("after a reboot of the host everything starts clean", async () => {
    const pod = await machine("reboot");
    await node.untilOutput(pod, READY, BOOT_MS);
    await node.reboot();
    const again = await machine("after");
    await node.untilOutput(again, READY, BOOT_MS);
    const { items } = JSON.parse((await node.api("/v1/pods")).body) as { items: PodView[] };
    expect(items.map((item) => item.sandboxId)).toEqual([again.podSandboxId]);
    await node.remove(again);
    await node.remove(pod);
  });
});
