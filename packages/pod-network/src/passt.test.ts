import { expect, test } from "vitest";
import { passtArguments, preparePasst } from "./passt.ts";
import type { PodInterface } from "./pod-interface.ts";

const POD: PodInterface = {
  name: "eth0",
  mac: "02:00:00:00:00:01",
  mtu: 1450,
  addresses: [{ family: "ipv4", address: "10.1.0.2", prefix: 16 }],
  routes: [{ family: "ipv4", to: "0.0.0.0/0", via: "10.1.0.1" }],
};
const NOTHING = {
  dns: { nameservers: [], search: [] },
  ports: { tcp: [], udp: [] },
  fd: 3,
};

test("gives the guest the pod's address, gateway, MTU and names, and its ports alone", () => {
  const argv = passtArguments(POD, {
    fd: 3,
    dns: { nameservers: ["10.96.0.10", "fd00::10"], search: ["svc.cluster.local"] },
    ports: { tcp: [22, 8080], udp: [53] },
  }).join(" ");
  expect(argv).toContain("--fd 3 --interface eth0 --mtu 1450 --ipv4-only --no-map-gw");
  expect(argv).toContain("--address 10.1.0.2 --netmask 16 --gateway 10.1.0.1 --dns 10.96.0.10");
  expect(argv).toContain("--search svc.cluster.local --tcp-ports 22,8080 --udp-ports 53");
  expect(argv).not.toContain("fd00::10"); // of a family that the pod has not
});

test("gives it no more search domains than it takes", () => {
  const search = ["a", "b", "c", "d", "e", "f", "g"];
  const argv = passtArguments(POD, { ...NOTHING, dns: { nameservers: [], search } });
  expect(argv.filter((_, index) => argv[index - 1] === "--search")).toEqual(search.slice(0, 6));
});

test("says none where there is nothing, for its own choice is everything", () => {
  const argv = passtArguments({ ...POD, routes: [] }, NOTHING).join(" ");
  expect(argv).toContain("--dns none --search none --tcp-ports none --udp-ports none");
  expect(argv).not.toContain("--gateway");
});

test("has both families where the pod has", () => {
  const own = { family: "ipv6", address: "fd00:1::2", prefix: 64 } as const;
  const route = { family: "ipv6", to: "::/0", via: "fd00:1::1" } as const;
  const both = { ...POD, addresses: [...POD.addresses, own], routes: [...POD.routes, route] };
  const argv = passtArguments(both, NOTHING).join(" ");
  expect(argv).not.toContain("only");
  expect(argv).toContain("--address fd00:1::2 --gateway fd00:1::1");
  const alone = passtArguments({ ...POD, addresses: [own], routes: [] }, NOTHING);
  expect(alone).toContain("--ipv6-only");
});

test("of the namespace it reaches only the address at which containers are for the machine", async () => {
  const inputs: string[] = [];
  await preparePasst((argv, stdin = "") => {
    inputs.push(`${argv.join(" ")}\n${stdin}`);
    return Promise.resolve({ exitCode: 0, stdout: "", stderr: "" });
  }, 70_001);
  const [settings, address, rules] = inputs;
  expect(settings).toContain("net/ipv4/ip_unprivileged_port_start=0");
  expect(address).toContain("address replace 169.254.77.1/32 dev lo");
  expect(rules).toContain(
    'meta skuid 70001 oifname "lo" ct state new ip daddr != 169.254.77.1 counter name "refused" drop',
  );
});
