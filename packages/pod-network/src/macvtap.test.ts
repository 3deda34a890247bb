import { expect, test } from "vitest";
import { forwardingRules } from "./forwarding-rules.ts";
import { makeMacvtaps } from "./macvtap.ts";
import type { PodInterface } from "./pod-interface.ts";

const POD: PodInterface = {
  name: "eth0",
  mac: "0a:58:00:00:00:01",
  mtu: 1450,
  addresses: [{ family: "ipv4", address: "10.1.0.2", prefix: 16 }],
  routes: [],
};
const LINK = { interface: POD, tap: "tap0", macvtap: "mvt0" };

async function linesOf(...names: string[]): Promise<string[]> {
  const inputs: string[] = [];
  await makeMacvtaps(
    (argv, stdin = "") => {
      if (argv.includes("-batch")) inputs.push(stdin);
      const stdout = JSON.stringify(names.map((ifname) => ({ ifname })));
      return Promise.resolve({ exitCode: 0, stdout, stderr: "" });
    },
    [LINK],
  );
  return inputs.join("").trimEnd().split("\n");
}

test("the guest's link has the pod's MAC, the pod's own another, and what is there stays", async () => {
  const [other, quiet, ...links] = await linesOf("lo", "eth0");
  expect(other).toBe("link set dev eth0 address 4a:58:00:00:00:01");
  expect(quiet).toBe("link set dev eth0 arp off");
  expect(links).toEqual([
    "link add link eth0 name mvt0 mtu 1450 address 0a:58:00:00:00:01 type macvtap mode bridge",
    "link add link eth0 name tap0 mtu 1450 type macvlan mode bridge",
  ]);
  expect(await linesOf("eth0", "mvt0")).toEqual([other, quiet, links[1]]);
  expect(await linesOf("eth0", "mvt0", "tap0")).toEqual([other, quiet]);
});

test("looks at the guest's frames where they leave the pod, and lets nothing of the namespace out there", () => {
  const rules = forwardingRules({ links: [{ ...LINK, linkLocal: "169.254.77.1" }] });
  expect(rules).toContain('type filter hook egress device "eth0" priority 0; policy drop;');
  expect(rules).toContain("ip saddr { 10.1.0.2 } accept");
  expect(rules).toContain("udp dport 67 drop");
  expect(rules).toContain('iifname "eth0" drop');
  expect(rules).not.toContain("fwd to");
});
