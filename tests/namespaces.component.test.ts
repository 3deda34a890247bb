// Decision 3: whatever containerd puts into a sidecar's spec from /proc/<sandbox pid>/ns is the pod's own.
import { readFile, readlink } from "node:fs/promises";
import { type RunningPod, runCommand } from "@trine/testkit";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { NodeUnderTest } from "./node-under-test.ts";

const OWN = ["net", "ipc", "uts"] as const;

describe.each(["1.6", "2.4"] as const)("namespaces of a pod of containerd %s", (version) => {
  let at: NodeUnderTest;
  let pods: [RunningPod, RunningPod];

  beforeAll(async () => {
    at = await NodeUnderTest.start(version);
    pods = [await at.machine("first"), await at.machine("second")];
  }, 1_800_000);

  afterAll(() => at.end());

  /** The process containerd takes for the sandbox. */
  async function sandboxPid(pod: RunningPod): Promise<number> {
    const { podSandboxId } = pod;
    const { info } = await at.runtime.podSandboxStatus({ podSandboxId, verbose: true });
    return (JSON.parse(info["info"] ?? "{}") as { pid: number }).pid;
  }

  const namespace = (pid: number | "self", kind: string): Promise<string> =>
    readlink(`/proc/${pid}/ns/${kind}`);

  test("the sandbox's process is the shim", async () => {
    for (const pod of pods) expect(await sandboxPid(pod)).toBe((await at.view(pod)).shim.pid);
  });

  test.each(OWN)("its %s namespace is the pod's alone", async (kind) => {
    const found = [await namespace("self", kind)];
    for (const pod of pods) found.push(await namespace(await sandboxPid(pod), kind));
    expect(new Set(found).size).toBe(found.length);
  });

  test("its network namespace is the one CNI set up, with lo and the pod's interface up", async () => {
    for (const pod of pods) {
      const pid = await sandboxPid(pod);
      const { info } = await at.runtime.podSandboxStatus({
        podSandboxId: pod.podSandboxId,
        verbose: true,
      });
      const [path] = /\/[^"\\]*\/netns\/[^"\\]+/.exec(info["info"] ?? "") ?? [];
      const [byPath, byPid] = await Promise.all([
        runCommand("stat", ["-L", "-c", "%i", path ?? ""]),
        namespace(pid, "net"),
      ]);
      expect(byPid).toBe(`net:[${byPath.trim()}]`);
      const text = await runCommand("nsenter", [`--net=/proc/${pid}/ns/net`, "ip", "-j", "link"]);
      const links = JSON.parse(text) as { ifname: string; flags: string[] }[];
      expect(links.map(({ ifname }) => ifname).sort()).toEqual(["eth0", "lo", "tap0"]);
      for (const { ifname, flags } of links) {
        expect([ifname, flags]).toEqual([ifname, expect.arrayContaining(["UP"])]);
      }
    }
  });

  test("the VMM shares none of them with the host, and has no network at all", async () => {
    for (const pod of pods) {
      const vmm = await at.vmm(pod);
      for (const kind of [...OWN, "mnt"]) {
        expect(await namespace(vmm, kind)).not.toBe(await namespace("self", kind));
      }
      expect(await namespace(vmm, "net")).not.toBe(await namespace(await sandboxPid(pod), "net"));
      const devices = await readFile(`/proc/${vmm}/net/dev`, "utf8");
      expect(devices.match(/^\s*\w+:/gm)?.map((name) => name.trim())).toEqual(["lo:"]);
    }
  });
});
