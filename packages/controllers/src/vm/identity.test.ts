import type { VirtualMachineInstanceSpec } from "@trine/kube-types";
import { expect, test } from "vitest";
import { withIdentity } from "./identity.ts";

const SPEC: VirtualMachineInstanceSpec = {
  domain: {
    devices: {
      interfaces: [
        { name: "default", masquerade: {} },
        { name: "lab", bridge: {} },
        { name: "mine", bridge: {}, macAddress: "02:00:00:00:00:01" },
        { name: "card", sriov: {} },
      ],
    },
  },
  networks: [
    { name: "default", pod: {} },
    { name: "lab", multus: { networkName: "lab" } },
    { name: "mine", multus: { networkName: "lab" } },
    { name: "card", multus: { networkName: "card" } },
  ],
};

const addresses = (uid: string): readonly (string | undefined)[] =>
  withIdentity(SPEC, uid).domain.devices.interfaces?.map(({ macAddress }) => macAddress) ?? [];

test("cards have addresses of their own where nobody else gives them one, the same at each start", () => {
  const [onPod, lab, mine, card] = addresses("a");
  expect(onPod).toBeUndefined();
  expect(lab).toMatch(/^02(:[0-9a-f]{2}){5}$/);
  expect(mine).toBe("02:00:00:00:00:01");
  expect(card).toBeUndefined();
  expect(addresses("a")).toEqual(addresses("a"));
  expect(addresses("b")[1]).not.toBe(lab);
});

test("its firmware has names, which others of another machine are", () => {
  const { firmware } = withIdentity(SPEC, "a").domain;
  expect(firmware?.uuid).toMatch(/^[0-9a-f-]{36}$/);
  expect(firmware?.serial).not.toBe(firmware?.uuid);
  expect(withIdentity(SPEC, "b").domain.firmware?.uuid).not.toBe(firmware?.uuid);
});
