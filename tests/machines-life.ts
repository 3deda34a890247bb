// One instance from `kubectl create` to `kubectl delete`, as its user sees it.
import { text } from "node:stream/consumers";
import { connect } from "node:net";
import { pollUntil } from "@trine/base";
import { expect, test } from "vitest";
import {
  LONG_MS,
  type MachinesUnderTest,
  READY,
  instance,
  instanceSpec,
} from "./machines-under-test.ts";

const NAME = "web";

export function lifeTests(at: () => MachinesUnderTest): void {
  test(
    "kubectl creates an instance: it runs, says who and where it is, and goes without a trace",
    async () => {
      const { kubectl, cluster } = at();
      await at().create(instance(NAME, instanceSpec(), { labels: { app: "shop" } }));
      const running = await at().untilPhase(NAME, "Running");
      const pod = await at().pod(NAME);
      const [, ip, hostname] = await at().untilLog(NAME, READY);
      expect([ip, hostname]).toEqual([pod.status.podIP, NAME]);

      const status = running.status ?? {};
      const phases = (status.phaseTransitionTimestamps ?? []).map(({ phase }) => phase);
      expect(phases[0]).toBe("Pending");
      expect(phases.at(-1)).toBe("Running");
      expect(new Set(phases).size).toBe(phases.length);
      expect(status).toMatchObject({
        nodeName: cluster.nodeName,
        activePods: { [pod.metadata.uid ?? ""]: cluster.nodeName },
        currentCPUTopology: { sockets: 1, cores: 1, threads: 1 },
        memory: { guestAtBoot: "128Mi", guestRequested: "128Mi" },
        volumeStatus: [{ name: "root", target: "vda" }],
      });
      const answers = await at().untilInstance(
        NAME,
        "the guest's agent answers",
        ({ status: now }) =>
          now?.interfaces?.[0]?.interfaceName === "eth0" &&
          now.guestOSInfo?.kernelRelease !== undefined,
      );
      expect(answers.status).toMatchObject({
        interfaces: [{ name: "default", ipAddress: ip, infoSource: "domain, guest-agent" }],
      });
      const conditions = Object.fromEntries(
        (answers.status?.conditions ?? []).map(({ type, status: is }) => [type, is]),
      );
      expect(conditions).toMatchObject({
        ...{ Ready: "True", AgentConnected: "True", LiveMigratable: "False" },
        SoftwareEmulation: "True",
      });
      expect(answers.metadata).toMatchObject({
        labels: { app: "shop", "kubevirt.io/nodeName": cluster.nodeName },
      });
      expect(pod.metadata.labels).toMatchObject({ app: "shop", "kubevirt.io": "virt-launcher" });

      const shown = await kubectl.run("get", "vmi", NAME, "--no-headers", "-o", "wide");
      expect(
        shown
          .trim()
          .split(/\s{2,}/)
          .slice(2),
      ).toEqual([...["Running", ip, cluster.nodeName, "True", "False"]]);
      const reasons = (await at().events(NAME)).map(({ reason }) => reason);
      expect(reasons).toEqual(expect.arrayContaining(["SuccessfulCreate", "Started"]));

      // Anybody on the pods' network reaches it by the address that is told.
      const asked = connect({ host: ip ?? "", port: 8080 });
      asked.end("GET / HTTP/1.0\r\n\r\n");
      expect(await text(asked)).toContain(NAME);
      const ran = [
        "exec",
        pod.metadata.name,
        "-c",
        "compute",
        "--",
        "cat",
        "/proc/sys/kernel/ostype",
      ];
      expect(await kubectl.run(...ran)).toBe("Linux\n");

      await at().delete("vmi", NAME);
      expect(await at().pods(NAME)).toEqual([]);
      await pollUntil("the node has nothing of it", { ms: LONG_MS, everyMs: 250 }, async () => {
        const { body } = await cluster.node.api("/v1/pods");
        return !body.includes(pod.metadata.uid ?? pod.metadata.name) || undefined;
      });
    },
    3 * LONG_MS,
  );
}
