import { expect, test } from "vitest";
import { dhcp6Offer, findGatewayMac } from "./dhcp6-offer.ts";
import type { PodInterface } from "./pod-interface.ts";

const pod = (via?: string): PodInterface => ({
  name: "eth0",
  mac: "02:00:00:00:00:01",
  mtu: 1450,
  addresses: [
    { family: "ipv4", address: "10.1.0.2", prefix: 16 },
    { family: "ipv6", address: "fd00:1::2", prefix: 64 },
  ],
  routes: via === undefined ? [] : [{ family: "ipv6", to: "::/0", via }],
});
const DNS = { nameservers: ["10.96.0.10", "fd00::10"], search: ["cluster.local"] };
const MAC = "02:00:00:00:00:99";

test("a gateway of the network's own link-local address answers itself", () => {
  expect(dhcp6Offer(pod("fe80::ecee:eeff:feee:eeee"), DNS, undefined)).toMatchObject({
    address: "fd00:1::2",
    prefix: 64,
    router: "fe80::ecee:eeff:feee:eeee",
    routerMac: "",
    isDefault: true,
    dns: ["fd00::10"],
    search: ["cluster.local"],
  });
});

test("any other has a stand-in where its MAC is known, and leads nowhere where not", () => {
  const known = dhcp6Offer(pod("fd00:1::1"), DNS, MAC);
  expect(known).toMatchObject({ router: "fe80::77:1", routerMac: MAC, isDefault: true });
  const unknown = dhcp6Offer(pod("fd00:1::1"), DNS, undefined);
  expect(unknown).toMatchObject({ routerMac: "", isDefault: false });
  expect(dhcp6Offer({ ...pod(), addresses: [] }, DNS, MAC)).toBeUndefined();
});

/** What `ip neigh show` says at each look. */
function neighbours(...looks: object[]): { asked: string[]; run: typeof findGatewayMac } {
  const asked: string[] = [];
  const run: typeof findGatewayMac = (_, of, ms) =>
    findGatewayMac(
      (argv) => {
        asked.push(argv.join(" "));
        const shown = argv.includes("show") ? JSON.stringify([looks.shift() ?? {}]) : "";
        return Promise.resolve({ exitCode: 0, stdout: shown, stderr: "" });
      },
      of,
      ms,
    );
  return { asked, run };
}
const unused = (): never => {
  throw new Error("not run");
};

test("asks for the gateway until it has answered or failed", async () => {
  const answers = neighbours({ state: ["INCOMPLETE"] }, { lladdr: MAC, state: ["REACHABLE"] });
  expect(await answers.run(unused, pod("fd00:1::1"))).toBe(MAC);
  expect(answers.asked[0]).toBe("ip -6 neigh replace fd00:1::1 dev eth0 use");
  const fails = neighbours({ state: ["FAILED"] });
  expect(await fails.run(unused, pod("fd00:1::1"))).toBeUndefined();
  const silent = neighbours();
  expect(await silent.run(unused, pod("fd00:1::1"), 100)).toBeUndefined();
});

test("one that takes its time is waited for, however many looks that are", async () => {
  const looks = Array.from({ length: 25 }, () => ({ state: ["INCOMPLETE"] }));
  const slow = neighbours(...looks, { lladdr: MAC, state: ["REACHABLE"] });
  expect(await slow.run(unused, pod("fd00:1::1"), 60_000)).toBe(MAC);
});

test("asks for nobody whom the guest finds by itself", async () => {
  expect(await findGatewayMac(unused, pod("fe80::1"))).toBeUndefined();
  expect(await findGatewayMac(unused, pod())).toBeUndefined();
});
