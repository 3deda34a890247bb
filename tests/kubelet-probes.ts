// Probes of every kind, hooks, ends and restarts: what kubelet does to containers by itself.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import {
  AGNHOST,
  type KubeUnderTest,
  type Pod,
  SLEEP,
  container,
  statusOf,
} from "./kubelet-pods.ts";
import { WEB } from "./kubelet-streams.ts";

const often = { periodSeconds: 2, timeoutSeconds: 20, failureThreshold: 30 };

/** Ready only when a start-up probe, four kinds of readiness and as many of liveness have succeeded. */
const PROBED = {
  containers: [
    {
      name: "grpc",
      image: AGNHOST,
      imagePullPolicy: "Never",
      args: ["grpc-health-checking", "--port", "5000", "--http-port", "5001"],
      startupProbe: { ...often, tcpSocket: { port: 5000 } },
      readinessProbe: { ...often, grpc: { port: 5000 } },
      livenessProbe: { ...often, grpc: { port: 5000 } },
    },
    container("http", {
      command: ["sh", "-c", WEB],
      ports: [{ name: "web", containerPort: 8080 }],
      startupProbe: { ...often, exec: { command: ["cat", "/tmp/w/hostname"] } },
      readinessProbe: { ...often, httpGet: { port: "web", path: "/hostname" } },
      livenessProbe: { ...often, tcpSocket: { port: "web" } },
    }),
  ],
};

/** Its liveness fails after a while by what the container did itself. */
const UNWELL = {
  containers: [
    container("main", {
      command: ["sh", "-c", "touch /tmp/well; sleep 3; rm /tmp/well; exec sleep 100000"],
      livenessProbe: {
        exec: { command: ["cat", "/tmp/well"] },
        ...{ initialDelaySeconds: 1, periodSeconds: 1, timeoutSeconds: 20, failureThreshold: 1 },
      },
    }),
  ],
};

/** Each container ends in its own way. */
const ENDS = {
  restartPolicy: "Never",
  containers: [
    container("well", { command: ["sh", "-c", "exit 0"] }),
    container("failed", {
      command: ["sh", "-c", "echo last words > /dev/why; exit 3"],
      terminationMessagePath: "/dev/why",
    }),
    container("said", {
      command: ["sh", "-c", "echo from the log; exit 4"],
      terminationMessagePolicy: "FallbackToLogsOnError",
    }),
    container("hungry", {
      command: ["tail", "/dev/zero"],
      resources: { limits: { memory: "32Mi" }, requests: { cpu: "10m", memory: "16Mi" } },
    }),
    container("absent", { command: ["/no/such/program"] }),
  ],
};

const AGAIN = {
  containers: [
    container("main", { command: ["sh", "-c", "exit 5"] }),
    container("other", { command: SLEEP }),
  ],
};

/** Hooks leave traces on the node, where they can be read when the pod is gone. */
function hooked(dir: string): object {
  return {
    terminationGracePeriodSeconds: 60,
    containers: [
      container("main", {
        command: [
          "sh",
          "-c",
          `trap 'echo term >> /t/$(hostname); exit 0' TERM; while :; do sleep 0.2; done`,
        ],
        volumeMounts: [{ name: "traces", mountPath: "/t" }],
        lifecycle: {
          postStart: { exec: { command: ["sh", "-c", "echo post >> /t/$(hostname)"] } },
          preStop: { exec: { command: ["sh", "-c", "echo pre >> /t/$(hostname)"] } },
        },
      }),
    ],
    volumes: [{ name: "traces", hostPath: { path: dir, type: "DirectoryOrCreate" } }],
  };
}

export function probeTests(kube: () => KubeUnderTest, traces: () => string): void {
  test("start-up, readiness and liveness probes by exec, HTTP, TCP and gRPC succeed", async () => {
    const restarts = await kube().pair("probed", PROBED, async (pod) => {
      const ready = await kube().ready(pod);
      return ready.status.containerStatuses?.map(({ restartCount }) => restartCount);
    });
    expect(restarts.microvm).toEqual([0, 0]);
  });

  test("a container whose liveness probe fails is started again", async () => {
    await kube().pair("unwell", UNWELL, (pod) =>
      kube().until(pod, "restarted", (it) => (statusOf(it, "main")?.restartCount ?? 0) > 0),
    );
    const said = await kube().untilEvent("unwell-microvm", "Unhealthy", /Liveness probe failed/);
    expect(said).toContain("/tmp/well");
  });

  test("exit codes, reasons and last words are as under runc", async () => {
    const ends = await kube().pair("ends", ENDS, async (pod) =>
      endsOf(await kube().phase(pod, "Failed")),
    );
    expect(ends.runc).toMatchObject({
      well: "0 Completed ",
      failed: "3 Error last words\n",
      said: "4 Error from the log\n",
      hungry: "137 OOMKilled ",
    });
    expect(ends.microvm).toEqual(ends.runc);
  });

  test("a container that fails is started again, with back-off, and its neighbour is left alone", async () => {
    const seen = await kube().pair("again", AGAIN, async (pod) => {
      const again = (it: Pod): boolean => (statusOf(it, "main")?.restartCount ?? 0) >= 2;
      await kube().until(pod, "twice restarted", again);
      const waits = await kube().until(
        pod,
        "waits",
        (it) => statusOf(it, "main")?.state.waiting?.reason === "CrashLoopBackOff",
      );
      return {
        exitCode: statusOf(waits, "main")?.lastState.terminated?.exitCode,
        neighbour: statusOf(waits, "other")?.restartCount,
      };
    });
    expect(seen.microvm).toEqual({ exitCode: 5, neighbour: 0 });
    expect(seen.microvm).toEqual(seen.runc);
  });

  test("postStart, then preStop, then SIGTERM, and the pod ends before its grace period", async () => {
    const left = await kube().pair("hooked", hooked(traces()), async (pod) => {
      await kube().ready(pod);
      await kube().remove(pod);
      return readFile(join(traces(), pod), "utf8");
    });
    expect(left.runc).toBe("post\npre\nterm\n");
    expect(left.microvm).toBe(left.runc);
  });
}

/** `CODE REASON MESSAGE` of each container that has ended. */
function endsOf(pod: Pod): Record<string, string> {
  const ends = pod.status.containerStatuses?.map(({ name, state }) => {
    const {
      exitCode,
      reason,
      message = "",
    } = state.terminated ?? {
      exitCode: -1,
      reason: JSON.stringify(state),
    };
    // containerd quotes what the runtime said of a program that is not there.
    return [name, `${exitCode} ${reason} ${name === "absent" ? "" : message}`];
  });
  return Object.fromEntries(ends ?? []) as Record<string, string>;
}
