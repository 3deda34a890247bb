// The same containers under runc and in a microvm: what a program sees of itself and of its pod must agree.
import { mkdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { pollUntil, withDeadline } from "@trine/base";
import { NamespaceMode } from "@trine/proto/cri/api";
import type { RunOptions, RunningPod, TrineNode } from "@trine/testkit";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startMicrovmNode } from "./microvm-node.ts";

const MICROVM = "trine-microvm";
const HANDLERS = ["", MICROVM] as const;
/** What kubelet asks for by default. */
const KUBELETS = {
  namespaceOptions: { pid: NamespaceMode.CONTAINER },
  maskedPaths: ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware"],
  readonlyPaths: ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
};

let node: TrineNode;
let image: string;

beforeAll(async () => {
  ({ node, image } = await startMicrovmNode());
}, 1_800_000);

afterAll(async () => {
  expect(await node.stop()).toEqual([]);
});

const runtime = (): TrineNode["containerd"]["cri"]["runtime"] => node.containerd.cri.runtime;

async function sh(pod: RunningPod, script: string): Promise<string> {
  const { containerId } = pod;
  const cmd = ["/bin/sh", "-c", script];
  const answer = await runtime().execSync({ containerId, cmd, timeout: 60n });
  const output = Buffer.from(answer.stdout).toString() + Buffer.from(answer.stderr).toString();
  return answer.exitCode === 0 ? output : `${output}(status ${answer.exitCode})\n`;
}

/** Runs one container under each handler and answers what the same script prints in both. */
async function both(
  name: string,
  options: Pick<RunOptions, "workingDir" | "env" | "securityContext">,
  script: string,
): Promise<{ runc: string; microvm: string }> {
  const [runc = "", microvm = ""] = await Promise.all(
    HANDLERS.map(async (handler) => {
      const command = ["/bin/sleep", "1000"];
      const pod = await node.run({ name, image, handler, command, ...options });
      const seen = await sh(pod, script);
      await node.remove(pod);
      return seen;
    }),
  );
  return { runc, microvm };
}

describe("what a program sees", () => {
  test("user, groups, directory, environment, limits, capabilities", async () => {
    const script = [
      "id; pwd; env | sort | grep -v '^HOSTNAME='; hostname; umask",
      "grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status",
      "cat /proc/1/comm",
      "touch /in-root; echo root $?; touch /tmp/in-tmp; echo tmp $?",
    ].join("\n");
    const seen = await both(
      "process",
      {
        workingDir: "/tmp",
        env: { ONE: "eins zwei" },
        securityContext: {
          ...KUBELETS,
          runAsUser: { value: 1000n },
          runAsGroup: { value: 1001n },
          supplementalGroups: [2000n],
          noNewPrivs: true,
        },
      },
      script,
    );
    expect(seen.microvm).toBe(seen.runc);
  }, 300_000);

  test("root's capabilities, a read-only root, masked and read-only paths", async () => {
    const script = [
      "grep -E '^(Cap|NoNewPrivs)' /proc/self/status",
      "touch /in-root 2>&1; echo root $?",
      "cat /proc/timer_list 2>/dev/null | wc -c; ls /sys/firmware | wc -l",
      "(echo 1 >/proc/sys/vm/swappiness) 2>&1; echo sys $?",
      "mount -t tmpfs none /mnt 2>&1 | sed 's/.*: //'; stat -c '%F %a' /dev/null /dev/shm /dev/pts",
    ].join("\n");
    const seen = await both(
      "confined",
      { securityContext: { ...KUBELETS, readonlyRootfs: true } },
      script,
    );
    expect(seen.microvm).toBe(seen.runc);
  }, 300_000);
});

describe("volumes", () => {
  test("directories and files of the host, read-only and not, with owners and modes", async () => {
    const dir = join(node.dir, "volume");
    await mkdir(dir);
    await writeFile(join(dir, "secret"), "0400 of root\n", { mode: 0o400 });
    await writeFile(join(node.dir, "one-file"), "a file\n");
    const script = [
      "cat /rw/secret /one; stat -c '%a %u %g %s' /rw/secret",
      "echo new >/rw/new; chown 7:8 /rw/new; chmod 640 /rw/new; stat -c '%a %u %g' /rw/new",
      "echo x 2>&1 >/ro/x; echo ro $?; mkdir /rw/d; mv /rw/new /rw/d/; ls /rw/d; rm -r /rw/d; echo $?",
    ].join("\n");
    const mounts = [
      { containerPath: "/rw", hostPath: dir },
      { containerPath: "/ro", hostPath: dir, readonly: true },
      { containerPath: "/one", hostPath: join(node.dir, "one-file"), readonly: true },
    ];
    // One after the other: both write.
    const seen: string[] = [];
    for (const handler of HANDLERS) {
      const command = ["/bin/sleep", "1000"];
      const pod = await node.run({
        name: "volumes",
        image,
        handler,
        command,
        mounts,
      });
      seen.push(await sh(pod, script));
      await node.remove(pod);
    }
    expect(seen[1]).toBe(seen[0]);
    expect(seen[0]).toContain("0400 of root\na file\n400 0 0 13\n640 7 8\n");
  }, 300_000);

  test("a secret that kubelet swaps is seen at once, and what the guest writes is on the host", async () => {
    const dir = join(node.dir, "live");
    await mkdir(join(dir, "..1"), { recursive: true });
    await writeFile(join(dir, "..1", "key"), "old");
    await symlink("..1", join(dir, "..data"));
    await symlink("..data/key", join(dir, "key"));
    const pod = await node.run({
      name: "live",
      image,
      handler: MICROVM,
      command: ["/bin/sleep", "1000"],
      mounts: [{ containerPath: "/live", hostPath: dir }],
    });
    expect(await sh(pod, "cat /live/key")).toBe("old");
    await mkdir(join(dir, "..2"));
    await writeFile(join(dir, "..2", "key"), "new");
    await rm(join(dir, "..data"));
    await symlink("..2", join(dir, "..data"));
    expect(await sh(pod, "cat /live/key; echo from the guest >/live/answer")).toBe("new");
    expect(await readFile(join(dir, "answer"), "utf8")).toBe("from the guest\n");
    await node.remove(pod);
  }, 300_000);
});

describe("a running pod", () => {
  test("port-forward reaches a service on the guest's own loopback", async () => {
    const serve =
      "mkdir /www; echo from-inside >/www/index.html; exec httpd -f -p 127.0.0.1:8080 -h /www";
    const pod = await node.run({
      name: "web",
      image,
      handler: MICROVM,
      command: ["/bin/sh", "-c", serve],
    });
    await pollUntil("the server listens", { ms: 60_000, everyMs: 200 }, async () =>
      (await sh(pod, "wget -qO- http://127.0.0.1:8080/")) === "from-inside\n" ? true : undefined,
    );
    const forward = await node.containerd.cri.portForward(pod.podSandboxId);
    const connection = forward.connect(8080);
    connection.end("GET / HTTP/1.0\r\n\r\n");
    expect(await withDeadline("port-forward", 20_000, text(connection))).toContain("from-inside");
    forward.close();
    await node.remove(pod);
  }, 300_000);

  test("it outlives the daemon: output, exec and exit status", async () => {
    const script = "trap 'exit 5' TERM; i=0; while :; do echo line $i; i=$((i+1)); sleep 1; done";
    const pod = await node.run({
      name: "outlives",
      image,
      handler: MICROVM,
      command: ["/bin/sh", "-c", script],
    });
    await node.untilOutput(pod, "line 1\n");
    await node.killTrined();
    const before = (await node.output(pod)).split("\n").length;
    await pollUntil("output goes on without the daemon", { ms: 30_000 }, async () =>
      (await node.output(pod)).split("\n").length > before + 1 ? true : undefined,
    );
    await node.startTrined();
    expect(await sh(pod, "echo again")).toBe("again\n");
    await runtime().stopContainer({ containerId: pod.containerId, timeout: 20n });
    expect(await node.ended(pod)).toMatchObject({ exitCode: 5 });
    const lines = (await node.output(pod)).trim().split("\n");
    expect(lines).toEqual(lines.map((_, index) => `line ${index}`));
    await node.remove(pod);
  }, 300_000);

  test("a container over its memory limit is OOMKilled, and its pod goes on", async () => {
    const pod = await node.run({
      name: "oom",
      image,
      handler: MICROVM,
      command: ["/bin/dd", "if=/dev/zero", "of=/dev/null", "bs=100M", "count=1"],
      memoryLimitBytes: 32 * 1024 * 1024,
    });
    expect(await node.ended(pod, 120_000)).toMatchObject({ exitCode: 137, reason: "OOMKilled" });
    await node.remove(pod);
  }, 300_000);
});
