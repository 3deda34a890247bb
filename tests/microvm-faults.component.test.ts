// What ends a guest from within or from without, and guests that never were what they should be.
import { createHash } from "node:crypto";
import { chmod, copyFile, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { messageOf, pollUntil } from "@trine/base";
import { PodSandboxState } from "@trine/proto/cri/api";
import { findProcesses, microvmGuest, runCommand, withTempDir } from "@trine/testkit";
import type { MicrovmGuest, TrineNode } from "@trine/testkit";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startMicrovmNode } from "./microvm-node.ts";
import { MICROVM, PodOfTest } from "./pod-pair.ts";

const BUSYBOX = "/bin/busybox";
const UNTIL_GO = "until [ -e /go ]; do sleep 0.1; done";

async function vmmOf({ podSandboxId }: PodOfTest): Promise<number> {
  const all = await findProcesses("qemu-system");
  const [own, ...others] = all.filter(({ command }) => command.includes(podSandboxId));
  expect(others).toEqual([]);
  return own?.pid ?? Number.NaN;
}

/** Limits the memory of a process's control group to what it has in use and so many bytes. */
async function leaveRoom(pid: number, bytes: number): Promise<void> {
  const groups = await readFile(`/proc/${pid}/cgroup`, "utf8");
  const v1 = /^\d+:memory:(.+)$/m.exec(groups)?.[1];
  const v2 = /^0::(.+)$/m.exec(groups)?.[1] ?? "";
  const [dir, usage, limit] =
    v1 === undefined
      ? [join("/sys/fs/cgroup", v2), "memory.current", "memory.max"]
      : [join("/sys/fs/cgroup/memory", v1), "memory.usage_in_bytes", "memory.limit_in_bytes"];
  const used = Number(await readFile(join(dir, usage), "utf8"));
  await writeFile(join(dir, limit), `${used + bytes}`);
}

describe("a guest that ends under its pod", () => {
  let node: TrineNode;
  let image: string;

  beforeAll(async () => {
    ({ node, image } = await startMicrovmNode());
  }, 1_800_000);

  afterAll(async () => {
    expect(await node.stop()).toEqual([]);
  });

  test.each<[string, string, (pod: PodOfTest) => Promise<void>, string, RegExp]>([
    [
      "its VMM is killed",
      "sleep 1000",
      async (pod) => {
        process.kill(await vmmOf(pod), "SIGKILL");
      },
      "Error",
      /"signal":9,.*the guest has ended under its pod/,
    ],
    [
      "its VMM is killed for memory",
      `${UNTIL_GO}; mkdir -p /big; mount -t tmpfs -o size=90% x /big; dd if=/dev/zero of=/big/x bs=1M count=150; sleep 1000`,
      async (pod) => {
        await leaveRoom(await vmmOf(pod), 8 << 20);
      },
      "OOMKilled",
      /"oom":true,.*the guest has ended under its pod/,
    ],
    [
      "its kernel panics",
      `${UNTIL_GO}; echo c >/proc/sysrq-trigger; sleep 1000`,
      () => Promise.resolve(),
      "Error",
      /"reason":"guest-(reset|panic)",.*the guest has ended under its pod/,
    ],
  ])(
    "%s: containers end with 137, the pod is not ready, what it was is in the log",
    async (_, script, end, reason, logged) => {
      const privileged = { securityContext: { privileged: true } };
      const options = { handler: MICROVM, image, name: "ends", config: { linux: privileged } };
      const pod = await PodOfTest.start(node, options);
      const container = await pod.run({
        command: ["/bin/sh", "-c", `echo up; ${script}`],
        linux: privileged,
      });
      await node.untilOutput(container, "up\n");
      await end(pod);
      await pod.sh(container, "touch /go").catch(() => ""); // the guest may have ended
      expect(await node.ended(container)).toMatchObject({ exitCode: 137, reason });
      const { runtime } = node.containerd.cri;
      await pollUntil("the sandbox is not ready", { ms: 60_000, everyMs: 200 }, async () => {
        const { status } = await runtime.podSandboxStatus({ podSandboxId: pod.podSandboxId });
        return status?.state === PodSandboxState.SANDBOX_NOTREADY ? true : undefined;
      });
      expect(await node.trinedLog(200)).toMatch(logged);
      await pod.remove();
    },
    180_000,
  );

  test("all that runs in it but its agent is killed: containers end with 137, the pod goes on with the next", async () => {
    const linux = { securityContext: { privileged: true } };
    const options = { handler: MICROVM, image, name: "emptied", config: { linux } };
    const pod = await PodOfTest.start(node, options);
    const command = ["/bin/sh", "-c", `echo up; ${UNTIL_GO}; echo i >/proc/sysrq-trigger`];
    const [one, other] = [await pod.run({ command, linux }), await pod.run({})];
    await node.untilOutput(one, "up\n");
    const vmm = await vmmOf(pod);
    await pod.sh(one, "touch /go").catch(() => ""); // it may be killed with the rest
    for (const each of [one, other]) {
      expect(await node.ended(each)).toMatchObject({ exitCode: 137, reason: "Error" });
    }
    const next = await pod.run({});
    expect(await pod.sh(next, "hostname")).toBe("emptied\n");
    expect(await vmmOf(pod)).toBe(vmm);
    await pod.remove();
  }, 180_000);
});

/** In place of the agent: the guest's CPUs say what it does, the one thing that a pod can tell it. */
const MADE_UP = `#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
while read -r module; do insmod "$module"; done </etc/trine/modules
for name in /sys/class/virtio-ports/*/name; do
  if grep -qx trine.agent "$name"; then port=\${name%/name}; port=/dev/\${port##*/}; fi
done
case $(nproc) in
1) exec sleep 100000 ;;
2) while :; do cat /dev/urandom; done >"$port" ;;
esac
`;

/** The guest image with another first program, as a guest image of its own in `dir`. */
async function madeUpGuest(dir: string): Promise<MicrovmGuest> {
  const real = await microvmGuest({ init: BUSYBOX });
  const tree = join(dir, "tree");
  await mkdir(join(tree, "bin"), { recursive: true });
  await copyFile(BUSYBOX, join(tree, "bin/busybox"));
  await writeFile(join(tree, "init"), MADE_UP);
  await chmod(join(tree, "init"), 0o755);
  const added = join(dir, "added.cpio");
  const pack = 'find bin init | "$0" cpio -o -H newc >"$1"';
  await runCommand("sh", ["-c", pack, BUSYBOX, added], { cwd: tree });
  const made = join(dir, "guest");
  await runCommand("cp", ["-r", real.dir, made]);
  // The kernel unpacks one archive after the other; the later init stays.
  const initrd = Buffer.concat([await readFile(real.initrd), await readFile(added)]);
  const file = real.initrd.replace(real.dir, made);
  await writeFile(file, initrd);
  const manifestPath = join(made, "guest.json");
  const manifest = JSON.parse(await readFile(manifestPath, "utf8")) as {
    initrd: { bytes: number; sha256: string };
  };
  manifest.initrd.bytes = initrd.length;
  manifest.initrd.sha256 = createHash("sha256").update(initrd).digest("hex");
  await writeFile(manifestPath, JSON.stringify(manifest));
  return { ...real, dir: made, initrd: file };
}

test("a guest whose agent never answers, talks garbage or ends: the container is refused, nothing is left", async () => {
  await withTempDir(async (dir) => {
    const guest = await madeUpGuest(dir);
    const { node, image } = await startMicrovmNode({ guest });
    const attempt = async (cpus: number): Promise<string> => {
      const annotations = { "trine.dev/cpus": `${cpus}` };
      const pod = await PodOfTest.start(node, {
        handler: MICROVM,
        image,
        name: `fault${cpus}`,
        annotations,
      });
      const said = await pod.run({}).then(() => "it runs", messageOf);
      await pod.remove();
      return said;
    };
    let left: string[];
    try {
      // Known as soon as it has ended.
      expect(await attempt(3)).toMatch(
        /the guest of pod fault3 did not come up \(its console ends: .*the machine has ended/,
      );
      // Known only by waiting: not for as long as a real guest may take on a busy machine.
      await node.killTrined();
      const file = join(node.dir, "trined.yaml");
      const config = await readFile(file, "utf8");
      await writeFile(file, config.replace(/bootMs: \d+/, "bootMs: 15000"));
      await node.startTrined();
      const [silent, garbage] = await Promise.all([1, 2].map(attempt));
      expect(silent).toMatch(/the guest of pod fault1 did not come up/);
      expect(garbage).toMatch(/the guest of pod fault2 did not come up/);
    } finally {
      left = await node.stop();
    }
    expect(left).toEqual([]);
  });
}, 300_000);
