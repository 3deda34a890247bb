// What else makes machines, and what they are made of: replica sets, instance types, first boots, containers beside them.
import { join } from "node:path";
import { expect, test } from "vitest";
import {
  LONG_MS,
  type Instance,
  type MachinesUnderTest,
  instance,
  instanceSpec,
  machine,
} from "./machines-under-test.ts";

const TYPES = join(import.meta.dirname, "../deploy/instancetypes");
const BUSYBOX = "trine.test/busybox:1";

export function madeTests(at: () => MachinesUnderTest): void {
  test(
    "a replica set has as many machines as kubectl scale says",
    async () => {
      const { kubectl } = at();
      await at().create({
        apiVersion: "kubevirt.io/v1",
        kind: "VirtualMachineInstanceReplicaSet",
        metadata: { name: "fleet" },
        spec: {
          replicas: 0,
          selector: { matchLabels: { app: "fleet" } },
          template: { metadata: { labels: { app: "fleet" } }, spec: instanceSpec() },
        },
      });
      const running = async (count: number): Promise<void> => {
        await kubectl.run("scale", "vmirs", "fleet", `--replicas=${count}`);
        await kubectl.until<Instance>(
          `${count} are ready`,
          ["vmirs", "fleet"],
          ({ status }) => {
            const { replicas = 0, readyReplicas = 0 } = status as Record<string, number>;
            return replicas === count && readyReplicas === count;
          },
          LONG_MS,
        );
      };
      await running(2);
      await running(1);
      const shown = await kubectl.run("get", "vmirs", "fleet", "--no-headers");
      expect(
        shown
          .trim()
          .split(/\s{2,}/)
          .slice(1, 4),
      ).toEqual(["1", "1", "1"]);
      await kubectl.run("delete", "vmirs", "fleet", "--timeout=120s");
      await kubectl.run("wait", "--for=delete", "vmi", "--selector=app=fleet", "--timeout=120s");
    },
    3 * LONG_MS,
  );

  test(
    "an instance type and a preference make the machine; its user data is seen in the guest; a container runs beside it",
    async () => {
      const { kubectl } = at();
      await kubectl.run("apply", "--server-side", "-f", TYPES);
      const spec = instanceSpec({
        disks: [{ name: "seed", disk: { bus: "virtio" } }],
        volumes: [
          { name: "seed", cloudInitNoCloud: { userData: "#cloud-config\nhostname: made\n" } },
        ],
      });
      await at().create(
        machine("typed", "Always", withoutSizes(spec), {
          instancetype: { name: "u1.nano" },
          preference: { name: "alpine" },
        }),
      );
      const vmi = await at().untilPhase("typed", "Running");
      expect(vmi.spec.domain.memory?.guest).toBe("512Mi");
      const log = await at().untilLog("typed", /TINY-GUEST SEED nocloud .*user-data: (.*)/);
      expect(log[1]).toContain("#cloud-config");
      await at().delete("vm", "typed");

      const beside = [
        {
          name: "beside",
          image: BUSYBOX,
          imagePullPolicy: "IfNotPresent",
          command: ["sleep", "1000"],
        },
      ];
      const annotations = { "trine.dev/containers": JSON.stringify(beside) };
      await at().create(instance("pair", instanceSpec(), { annotations }));
      await at().booted("pair");
      const { metadata } = await at().pod("pair");
      const asked = ["wget", "-qO-", "http://127.0.0.1:8080/"];
      const said = await kubectl.run("exec", metadata.name, "-c", "beside", "--", ...asked);
      expect(said).toContain("pair");
      await at().delete("vmi", "pair");
    },
    4 * LONG_MS,
  );

  test(
    "of an image that is not there the machine says so, and what its user can do",
    async () => {
      const image = "trine.test/there-is-none:1";
      await at().create(machine("lost", "Always", instanceSpec({ image })));
      const vmi = await at().untilInstance("lost", "its image is missed", ({ status }) =>
        (status?.conditions ?? []).some(
          ({ type, reason = "" }) => type === "Synchronized" && /ImagePull/.test(reason),
        ),
      );
      const said = vmi.status?.conditions?.find(({ type }) => type === "Synchronized");
      expect(said).toMatchObject({ status: "False" });
      expect(said?.message).toContain(image);
      await at().untilMachine("lost", "its status", ({ status }) =>
        /^(ErrImagePull|ImagePullBackOff)$/.test(status?.printableStatus ?? ""),
      );
      const pod = await at().pod("lost");
      const messages = (await at().events(pod.metadata.name)).map(({ message }) => message);
      expect(messages.join("\n")).toContain(image);
      await at().delete("vm", "lost");
    },
    2 * LONG_MS,
  );
}

/** Without what an instance type says, for its machine must not. */
function withoutSizes(spec: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  const domain = spec["domain"] as Readonly<Record<string, unknown>>;
  const { devices } = domain;
  return { ...spec, domain: { devices } };
}
