// Events of pods on a real API server, written with the rights that deploy/kubernetes gives.
import { mkdtemp, rename, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pollUntil } from "@trine/base";
import { KubeControlPlane, kubeBinaries } from "@trine/testkit";
import { pino } from "pino";
import { expect, test } from "vitest";
import { defaultConfig } from "./config.ts";
import { keepPodEvents } from "./pod-events.ts";

const DEPLOYED = join(import.meta.dirname, "../../../deploy/kubernetes/node-events.yaml");
const ACCOUNT = "system:serviceaccount:kube-system:trine-node-events";
const EVENT_MS = 60_000;
const MS = 600_000;

const ACCOUNT_OF_PODS = {
  apiVersion: "v1",
  kind: "ServiceAccount",
  metadata: { name: "default", namespace: "default" },
};
const POD = {
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name: "limited", namespace: "default" },
  spec: { automountServiceAccountToken: false, containers: [{ name: "main", image: "none" }] },
};

test(
  "what happens to a pod's views is an event of it, also where the kubeconfig comes late",
  async () => {
    const dir = await mkdtemp(join(tmpdir(), "te-"));
    const plane = await KubeControlPlane.start({
      ...{ dir: join(dir, "k"), binaries: await kubeBinaries(), address: "127.0.0.1" },
      apiOnly: true,
    });
    const { kubectl, authority, server } = plane;
    const { nodeDoor } = defaultConfig();
    const log = pino({ level: "silent" });
    const late = join(dir, "late.kubeconfig");
    const kubernetes = { kubeconfig: "", events: late };
    const events = keepPodEvents({
      config: { kubernetes, nodeDoor: { ...nodeDoor, node: "node-1" } },
      log,
    });
    try {
      expect(keepPodEvents({ config: defaultConfig(), log })).toBeUndefined();
      await kubectl.run("apply", "-f", DEPLOYED);
      // The API server makes the namespace a moment after it serves; the account is a controller's, which is not there.
      await pollUntil("the namespace is there", { ms: EVENT_MS }, () =>
        kubectl
          .run("get", "namespace", "default", "--ignore-not-found", "-o", "name")
          .then((name) => name !== "" || undefined),
      );
      await kubectl.apply(ACCOUNT_OF_PODS, POD);
      const ask = (path: string, ...more: string[]): Promise<string> =>
        kubectl.run("get", ...more, "-o", `jsonpath=${path}`);
      const uid = await ask("{.metadata.uid}", "pod", "limited");
      const pod = { namespace: "default", name: "limited", uid };
      const lost = {
        type: "Warning",
        reason: "LxcfsLost",
        message: "container main: gone",
      } as const;
      const made = await authority.kubeconfig("events", server, { user: ACCOUNT });
      events?.record({ pod, ...lost });
      events?.record({ pod, ...lost });
      events?.record({
        pod,
        type: "Normal",
        reason: "LxcfsViews",
        message: "container main: back",
      });
      await rename(made, late);

      const path =
        "{range .items[*]}{.reason}/{.type}/{.count}/{.involvedObject.kind}/{.source.component}/{.reportingInstance}/{.message}{'\\n'}{end}";
      const told = await pollUntil("both are told", { ms: EVENT_MS }, async () => {
        const lines = (await ask(path, "events", `--field-selector=involvedObject.uid=${uid}`))
          .split("\n")
          .filter((line) => line.startsWith("Lxcfs"));
        return lines.length >= 2 ? lines.sort() : undefined;
      });
      expect(told).toEqual([
        "LxcfsLost/Warning/2/Pod/trined/node-1/container main: gone",
        "LxcfsViews/Normal/1/Pod/trined/node-1/container main: back",
      ]);
      events?.record({ pod, ...lost });
      await pollUntil(
        "it is counted up",
        { ms: EVENT_MS },
        async () =>
          (await ask(path, "events", "-n", "default")).includes("LxcfsLost/Warning/3/") ||
          undefined,
      );
    } finally {
      await events?.stop();
      await plane.stop();
      await rm(dir, { recursive: true });
    }
  },
  MS,
);
