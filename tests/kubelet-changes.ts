// What happens to pods from outside: resources changed, space used up, refused wishes, a machine, drain, daemons restarted.
import { pollUntil } from "@trine/base";
import { expect, test } from "vitest";
import {
  type Both,
  type KubeUnderTest,
  LONG_MS,
  type Pod,
  SLEEP,
  TINY_GUEST,
  container,
  pods,
  podOf,
  statusOf,
} from "./kubelet-pods.ts";

const RESIZED = {
  containers: [
    container("main", {
      command: SLEEP,
      resources: {
        limits: { memory: "64Mi", cpu: "200m" },
        requests: { memory: "16Mi", cpu: "10m" },
      },
      resizePolicy: [
        { resourceName: "cpu", restartPolicy: "NotRequired" },
        { resourceName: "memory", restartPolicy: "NotRequired" },
      ],
    }),
    // Without a limit of its own: the guest has its default size, and the other may grow within it.
    container("room", { command: SLEEP }),
  ],
};

const SMALL = {
  containers: [
    container("main", {
      command: SLEEP,
      resources: { limits: { memory: "16Mi", cpu: "100m" } },
    }),
  ],
};

const FULL = {
  containers: [
    container("main", {
      command: ["sh", "-c", "head -c 20000000 /dev/zero > /v/big; exec sleep 100000"],
      volumeMounts: [{ name: "small", mountPath: "/v" }],
    }),
  ],
  volumes: [{ name: "small", emptyDir: { sizeLimit: "8Mi" } }],
};

const plain = (command: readonly string[] = SLEEP): object => ({
  containers: [container("main", { command })],
});

const TICKS = ["sh", "-c", "i=0; while :; do echo tick $i; i=$((i+1)); sleep 1; done"];

const WISHES = { hostNetwork: "hostNetwork", hostPID: "hostPID", hostIPC: "hostIPC" } as const;

function machine(): object {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "machine", annotations: { "trine.dev/memory": "128Mi" } },
    spec: {
      runtimeClassName: "trine-vm",
      terminationGracePeriodSeconds: 30,
      automountServiceAccountToken: false,
      enableServiceLinks: false,
      containers: [
        { name: "machine", image: TINY_GUEST, imagePullPolicy: "Never", command: ["machine"] },
      ],
    },
  };
}

export function changeTests(kube: () => KubeUnderTest): void {
  test("hostNetwork, hostPID and hostIPC are refused with an event that says why", async () => {
    for (const wish of Object.values(WISHES)) {
      const name = podOf(wish.toLowerCase(), "microvm");
      await kube().kubectl.apply(
        ...pods(wish.toLowerCase(), { ...plain(), [wish]: true }, ["microvm"]),
      );
      const said = await kube().untilEvent(name, "FailedCreatePodSandBox", new RegExp(wish));
      expect(said).toMatch(/use another RuntimeClass/);
      await kube().remove(name);
    }
  });

  test("a machine is a pod: ready, its console is its log, its shell is exec's", async () => {
    await kube().kubectl.apply(machine());
    await kube().ready("machine");
    await pollUntil("the guest has come up", { ms: LONG_MS, everyMs: 500 }, async () => {
      const log = await kube().kubectl.run("logs", "machine");
      return log.includes("TINY-GUEST READY") || undefined;
    });
    const { podIP = "none" } = (await kube().pod("machine")).status;
    expect(await kube().sh("machine", "machine", "ip -4 -o address show eth0")).toContain(podIP);
    await kube().remove("machine");
  });

  test("a resize in place is seen inside, up and down, without a restart", async () => {
    const seen = await kube().pair("resized", RESIZED, async (pod) => {
      await kube().ready(pod);
      const sizes: string[] = [];
      for (const [memory, cpu] of [
        ["96Mi", "400m"],
        ["48Mi", "100m"],
      ] as const) {
        await resize(kube(), pod, memory, cpu);
        sizes.push(await limitsInside(kube(), pod));
      }
      return { sizes, restarts: statusOf(await kube().pod(pod), "main")?.restartCount };
    });
    expect(seen.microvm).toEqual({ sizes: ["100663296 0.4", "50331648 0.1"], restarts: 0 });
    expect(seen.microvm).toEqual(seen.runc);
  });

  test("a pod with a small limit has room for its guest", async () => {
    const seen = await kube().pair("small", SMALL, async (pod) => {
      const { status } = await kube().ready(pod);
      return [status.containerStatuses?.[0]?.restartCount, await limitsInside(kube(), pod)];
    });
    expect(seen.microvm).toEqual([0, "16777216 0.1"]);
    expect(seen.microvm).toEqual(seen.runc);
  });

  test("an emptyDir beyond its limit has its pod evicted", async () => {
    const said = await kube().pair("full", FULL, async (pod) => {
      const { status } = await kube().phase(pod, "Failed");
      return `${status.reason ?? ""}: ${status.message ?? ""}`;
    });
    expect(said.microvm).toContain("Evicted");
    expect(said.microvm).toBe(said.runc);
  });

  test("drain evicts a pod", async () => {
    const { nodeName } = kube().cluster;
    const left = await kube().during("drained", plain(), async () => {
      await kube().both("drained", (pod) => kube().ready(pod));
      await kube().kubectl.run(
        ...["drain", nodeName, "--force", "--disable-eviction=false", "--timeout=120s"],
        ...["--pod-selector=case=drained", "--ignore-daemonsets", "--delete-emptydir-data"],
      );
      await kube().kubectl.run("uncordon", nodeName);
      return kube().kubectl.get<{ items: readonly Pod[] }>("pods", "-l", "case=drained");
    });
    expect(left.items).toEqual([]);
  });

  test("pods go on while kubelet, containerd and trined are restarted", async () => {
    const { cluster } = kube();
    const restarts = [
      () => cluster.restartKubelet(),
      () => cluster.node.containerd.restart(),
      async () => {
        await cluster.node.killTrined();
        await cluster.node.startTrined();
      },
    ];
    const identities = (): Promise<Both<unknown>> =>
      kube().both("steady", async (pod) => identity(await kube().ready(pod)));
    const [before, after] = await kube().during("steady", plain(TICKS), async () => {
      const first = await identities();
      for (const restart of restarts) {
        await restart();
        await kube().both("steady", (pod) => goesOn(kube(), pod));
      }
      return [first, await identities()];
    });
    expect(after).toEqual(before);
  });
}

function identity(pod: Pod): unknown {
  const statuses = pod.status.containerStatuses;
  return statuses?.map(({ containerID, restartCount }) => [containerID, restartCount]);
}

async function resize(
  kube: KubeUnderTest,
  pod: string,
  memory: string,
  cpu: string,
): Promise<void> {
  const wanted = { limits: { memory, cpu } };
  const patch = { spec: { containers: [{ name: "main", resources: wanted }] } };
  await kube.kubectl.run(
    ...["patch", "pod", pod, "--subresource", "resize", "--patch", JSON.stringify(patch)],
  );
  await kube.until(pod, `resized to ${memory}`, (it) => {
    const actual = statusOf(it, "main")?.resources as { limits?: typeof wanted.limits } | undefined;
    return actual?.limits?.memory === memory && actual.limits.cpu === cpu;
  });
}

/** Bytes and processors as the container's own control group says, of either version. */
function limitsInside(kube: KubeUnderTest, pod: string): Promise<string> {
  const script = `
    if [ -f /sys/fs/cgroup/memory.max ]; then
      memory=$(cat /sys/fs/cgroup/memory.max); set -- $(cat /sys/fs/cgroup/cpu.max)
    else
      memory=$(cat /sys/fs/cgroup/memory/memory.limit_in_bytes)
      set -- $(cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us) $(cat /sys/fs/cgroup/cpu/cpu.cfs_period_us)
    fi
    echo "$memory $(awk "BEGIN { print $1 / $2 }")"`;
  return kube.sh(pod, "main", script).then((said) => said.trim());
}

/** Its log grows, and exec works. Daemons that have just begun take a moment to find each other and their pods. */
async function goesOn(kube: KubeUnderTest, pod: string): Promise<void> {
  const last = async (): Promise<number | undefined> => {
    const log = await kube.kubectl.run("logs", pod, "--tail=1").catch(() => "");
    const tick = /tick (\d+)/.exec(log)?.[1];
    return tick === undefined ? undefined : Number(tick);
  };
  const often = { ms: LONG_MS, everyMs: 500 };
  const start = await pollUntil(`${pod}: its log can be read`, often, last);
  await pollUntil(`${pod}: its log grows`, often, async () =>
    ((await last()) ?? start) > start ? true : undefined,
  );
  await pollUntil(`${pod}: exec works`, often, () =>
    kube.sh(pod, "main", "echo still here").catch(() => undefined),
  );
}
