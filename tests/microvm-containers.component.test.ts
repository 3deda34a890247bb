// Several containers of a pod, how they end, what they see of each other: the same under runc and in a microvm.
import { mkdir } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { messageOf, pollUntil } from "@trine/base";
import { NamespaceMode } from "@trine/proto/cri/api";
import type { TrineNode } from "@trine/testkit";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startMicrovmNode } from "./microvm-node.ts";
import { PodPair, SLEEP } from "./pod-pair.ts";
import type { PodOfTest } from "./pod-pair.ts";

let node: TrineNode;
let image: string;
let pair: PodPair;

beforeAll(async () => {
  ({ node, image } = await startMicrovmNode());
  pair = await PodPair.start(node, image, { name: "containers" });
}, 1_800_000);

afterAll(async () => {
  await pair.remove();
  expect(await node.stop()).toEqual([]);
});

const shell = (script: string): string[] => ["/bin/sh", "-c", script];
const runtime = (): TrineNode["containerd"]["cri"]["runtime"] => node.containerd.cri.runtime;

/** How a container ended, as kubelet shows it. */
async function end(container: { containerId: string }): Promise<string> {
  const { exitCode, reason } = await node.ended(container);
  return `${exitCode} ${reason}`;
}

test("init, sidecar and main container share volumes and loopback; one is made anew, the others go on", async () => {
  const together = async (pod: PodOfTest): Promise<string> => {
    const dir = join(node.dir, `shared-${pod.handler}`);
    await mkdir(dir);
    const mounts = [{ containerPath: "/v", hostPath: dir }];
    const init = await pod.run({ mounts, command: shell("echo from init >/v/page") });
    const seen = [await end(init)];
    const serve = shell("exec httpd -f -p 127.0.0.1:8080 -h /v");
    const sidecar = await pod.run({ mounts, command: serve });
    const metadata = (attempt: number): object => ({ metadata: { name: "main", attempt } });
    const get = "wget -qO- http://127.0.0.1:8080/page; hostname; ps -o args | grep -c '[h]ttpd'";
    const main = await pod.run({ mounts, ...metadata(0) });
    seen.push(await pod.sh(main, get));
    await runtime().stopContainer({ containerId: main.containerId, timeout: 0n });
    seen.push(await end(main));
    await runtime().removeContainer({ containerId: main.containerId });
    const again = await pod.run({ mounts, ...metadata(1) });
    seen.push(await pod.sh(again, get), await pod.sh(sidecar, "cat /v/page"));
    return seen.join("\n");
  };
  const [runc, microvm] = await Promise.all([together(pair.runc), together(pair.microvm)]);
  expect(microvm).toBe(runc);
  expect(runc).toMatch(/^0 Completed\nfrom init\ncontainers\n0\n/);
}, 180_000);

test("exit codes and reasons", async () => {
  const ends = async (pod: PodOfTest): Promise<string> => {
    const stop = async (script: string, timeout: bigint): Promise<string> => {
      const container = await pod.run({ command: shell(script) });
      await node.untilOutput(container, "up\n");
      await runtime().stopContainer({ containerId: container.containerId, timeout });
      return end(container);
    };
    const small = { resources: { memoryLimitInBytes: 20n << 20n } };
    const eats = ["/bin/dd", "if=/dev/zero", "of=/dev/null", "bs=60M", "count=1"];
    return [
      await end(await pod.run({ command: shell("exit 42") })),
      await end(await pod.run({ command: shell("sh -c 'kill -SEGV $$'; exit $?") })),
      await stop("trap 'exit 5' TERM; echo up; while :; do sleep 0.2; done", 30n),
      await stop("trap '' TERM; echo up; while :; do sleep 0.2; done", 1n),
      await stop("echo up; exec sleep 1000", 0n),
      await end(await pod.run({ command: eats, linux: small })),
    ].join("\n");
  };
  const [runc, microvm] = await Promise.all([ends(pair.runc), ends(pair.microvm)]);
  expect(microvm).toBe(runc);
  expect(runc).toBe("42 Error\n139 Error\n5 Error\n137 Error\n137 Error\n137 OOMKilled");
}, 180_000);

test("a program that is not there: StartError with the words of runc", async () => {
  const said = async (pod: PodOfTest): Promise<string> => {
    const failure = await pod
      .run({ metadata: { name: "absent", attempt: 0 }, command: ["/no/such"] })
      .then(() => "it runs", messageOf);
    const { containers } = await runtime().listContainers({
      filter: { podSandboxId: pod.podSandboxId },
    });
    const absent = containers.find(({ metadata }) => metadata?.name === "absent");
    const { status } = await runtime().containerStatus({ containerId: absent?.id ?? "" });
    // containerd 1.6 adds the name of the error's code.
    const words = /exec: "[^"]*": (stat [^:]*: )?[^:]*/.exec(failure)?.[0] ?? failure;
    return [words, status?.exitCode, status?.reason, status?.state].join(" ");
  };
  const [runc, microvm] = [await said(pair.runc), await said(pair.microvm)];
  expect(microvm).toBe(runc);
  expect(runc).toContain(
    'exec: "/no/such": stat /no/such: no such file or directory 128 StartError',
  );
}, 120_000);

test("a pod that names no host is called as the node is, however long its own name is", async () => {
  const config = { hostname: "" };
  const nameless = await PodPair.start(node, image, { name: "n".repeat(70), config });
  const seen = await nameless.script({}, "hostname; cat /etc/hostname");
  await nameless.remove();
  expect(seen.microvm).toBe(seen.runc);
  expect(seen.runc).toBe(`${hostname()}\n${hostname()}\n`);
}, 120_000);

test("orphans go to the container's first process, or to the pod's when ids are shared", async () => {
  const config = {
    linux: { securityContext: { namespaceOptions: { pid: NamespaceMode.POD } } },
  };
  const shared = await PodPair.start(node, image, { name: "pids", config });
  const look = async (pod: PodOfTest): Promise<string> => {
    const first = await pod.run({ command: shell("(sleep 4321 &); exec sleep 1000") });
    const second = await pod.run({ command: SLEEP });
    await pollUntil("the orphan has a new parent", { ms: 60_000, everyMs: 200 }, async () =>
      (await pod.sh(second, "ps -o ppid,args | grep '[s]leep 4321'")).trim().startsWith("1 ")
        ? true
        : undefined,
    );
    await pod.sh(second, "kill $(ps -o pid,args | awk '/[s]leep 4321/{print $1}')");
    // kubectl debug --target: the other's processes, also under a pod that shares none.
    const target = first.containerId;
    const namespaceOptions = { pid: NamespaceMode.TARGET, targetId: target };
    const debug = await pod.run({
      linux: {
        securityContext: { namespaceOptions, capabilities: { addCapabilities: ["SYS_PTRACE"] } },
      },
    });
    return pod.sh(
      debug,
      "ps -o args | grep -c '[s]leep 1000'; ls /proc/1/root >/dev/null; echo $?",
    );
  };
  const [runc, microvm] = await Promise.all([look(shared.runc), look(shared.microvm)]);
  const pod = shared.microvm;
  const container = await pod.run({
    linux: { securityContext: { capabilities: { addCapabilities: ["SYS_PTRACE", "SYS_ADMIN"] } } },
  });
  await pollUntil("the orphan is reaped", { ms: 60_000, everyMs: 200 }, async () =>
    (await pod.sh(container, "ps -o stat | grep -c Z")).startsWith("0") ? true : undefined,
  );
  // Whoever takes over the pod's first process has gained nothing.
  const first =
    "cat /proc/1/comm; grep -E '^(Uid|CapPrm|CapBnd|NoNewPrivs)' /proc/1/status; ls /proc/1/root/ | wc -l";
  expect(await pod.sh(container, first)).toBe(
    "pause\nUid:\t65534\t65534\t65534\t65534\nCapPrm:\t0000000000000000\nCapBnd:\t0000000000000000\nNoNewPrivs:\t1\n0\n",
  );
  await shared.remove();
  expect(microvm).toBe(runc);
}, 240_000);
