// A pod of level microvm on the real containerd, shim, trined, QEMU, guest kernel and agent.
import { release } from "node:os";
import type { RunningPod, TrineNode } from "@trine/testkit";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startMicrovmNode } from "./microvm-node.ts";
import { smallKernelTests } from "./microvm-small-kernel.ts";
import { SOAK } from "./node-under-test.ts";

const VERSIONS = ["1.6", "2.4"] as const;

describe.each(VERSIONS)("a microvm pod of containerd %s", (version) => {
  let node: TrineNode;
  let busybox: string;

  beforeAll(async () => {
    ({ node, image: busybox } = await startMicrovmNode({ version }));
  }, 1_800_000);

  afterAll(async () => {
    expect(await node.stop()).toEqual([]);
  });

  const runtime = (): TrineNode["containerd"]["cri"]["runtime"] => node.containerd.cri.runtime;

  function run(name: string, ...command: string[]): Promise<RunningPod> {
    return node.run({ name, image: busybox, handler: "trine-microvm", command });
  }

  async function exec(pod: RunningPod, ...cmd: string[]): Promise<[number, string, string]> {
    const { containerId } = pod;
    const answer = await runtime().execSync({ containerId, cmd, timeout: 60n });
    return [
      answer.exitCode,
      Buffer.from(answer.stdout).toString(),
      Buffer.from(answer.stderr).toString(),
    ];
  }

  test("its output, its exit code, and a kernel that is not the node's", async () => {
    const pod = await run("echo", "sh", "-c", "echo hello; uname -r; exit 7");
    const output = await node.untilOutput(pod, /hello\n\S+\n/);
    expect((await node.ended(pod)).exitCode).toBe(7);
    expect(output.split("\n")[1]).not.toBe(release());
    await node.remove(pod);
  }, 300_000);

  test("exec runs in the container, with output, errors and exit status", async () => {
    const pod = await run("exec", "sleep", "1000");
    expect(await exec(pod, "sh", "-c", "hostname; echo err >&2; exit 3")).toEqual([
      3,
      "exec\n",
      "err\n",
    ]);
    const [, addresses] = await exec(pod, "ip", "-o", "-4", "addr", "show", "eth0");
    expect(addresses).toContain(pod.ip);
    await node.remove(pod);
  }, 300_000);
});

if (SOAK) smallKernelTests();
