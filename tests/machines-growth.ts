// A VirtualMachine that is changed by kubectl while it runs.
import { genericTinyGuestImage } from "@trine/testkit";
import { expect, test } from "vitest";
import {
  LONG_MS,
  type Machine,
  type MachinePod,
  type MachinesUnderTest,
  instanceSpec,
  machine,
} from "./machines-under-test.ts";

const NAME = "grows";

/** Asked for by the machine's container. */
function requests(pod: MachinePod): unknown {
  const [container] = pod.spec.containers as readonly { resources?: { requests?: object } }[];
  return container?.resources?.requests;
}

function hasCondition({ status }: Machine, type: string): boolean {
  return status?.conditions?.some((each) => each.type === type) ?? false;
}

export function growthTests(at: () => MachinesUnderTest): void {
  test(
    "a machine that runs has the sockets and the memory that its template is given, without a restart",
    async () => {
      const { kubectl, cluster } = at();
      const generic = await genericTinyGuestImage();
      await cluster.node.containerd.importImage(generic);
      const domain = { resources: {} };
      await at().create(machine(NAME, "Always", instanceSpec({ domain, image: generic.name })));
      const { metadata } = await at().booted(NAME);
      const pod = await at().pod(NAME);
      expect(requests(pod)).toEqual({ cpu: "100m", memory: "128Mi" });
      const console_ = await at().console(NAME);
      // What the guest's kernel has, in KiB; the shell of its console keeps what it was at first.
      console_.send("total() { awk '/MemTotal/ { print $2 }' /proc/meminfo; }; first=$(total)\n");
      console_.send("modprobe virtio_mem; echo cpus-$(nproc)\n");
      await console_.until("cpus-1");

      const patch = async (fields: object): Promise<void> => {
        const spec = { template: { spec: fields } };
        const text = JSON.stringify({ spec });
        await kubectl.run("patch", "vm", NAME, "--type=merge", "--patch", text);
      };
      await patch({ domain: { cpu: { sockets: 2 }, memory: { guest: "192Mi" } } });
      const grown = await at().untilInstance(
        NAME,
        "the guest has it",
        ({ status }) =>
          status?.currentCPUTopology?.sockets === 2 && status.memory?.guestCurrent === "192Mi",
      );
      expect(grown.metadata.uid).toBe(metadata.uid);
      expect(grown.status?.memory).toMatchObject({ guestAtBoot: "128Mi", guestRequested: "192Mi" });
      const after = await at().pod(NAME);
      expect(after.metadata.uid).toBe(pod.metadata.uid);
      expect(requests(after)).toEqual({ cpu: "200m", memory: "192Mi" });
      console_.send("echo grown-$(nproc)-$(($(total) - first))\n");
      await console_.until("grown-2-65536", 40_000);
      const vm = await at().untilMachine(
        NAME,
        "nothing is left to be done",
        (it) => !hasCondition(it, "HotVCPUChange") && !hasCondition(it, "HotMemoryChange"),
      );
      expect(hasCondition(vm, "RestartRequired")).toBe(false);

      await patch({ domain: { cpu: { sockets: 1 } } });
      const fewer = await at().untilMachine(NAME, "fewer sockets need a restart", (it) =>
        hasCondition(it, "RestartRequired"),
      );
      const restart = fewer.status?.conditions?.find(({ type }) => type === "RestartRequired");
      expect(restart?.message).toBe("1 CPU sockets are fewer than the 2 that the guest has");
      await patch({ domain: { cpu: { sockets: 2 } } });
      await at().untilMachine(
        NAME,
        "no restart is needed any more",
        (it) => !hasCondition(it, "RestartRequired"),
      );
      console_.end();
      await at().delete("vm", NAME);
    },
    2 * LONG_MS,
  );
}
