import { expect, test } from "vitest";
import { checkFacts, queryQemu } from "./query-qemu.ts";

const DEVICES = [
  ...["virtio-blk-pci", "virtio-net-pci", "virtio-serial-pci", "virtserialport", "virtconsole"],
  ...["virtio-rng-pci", "virtio-balloon-pci", "virtio-tablet-pci", "isa-serial", "pvpanic", "VGA"],
];
const answers = {
  version: "QEMU emulator version 8.2.2 (Debian 1:8.2.2)\nCopyright",
  machines: "Supported machines are:\npc   Standard PC\nq35  Standard PC (Q35 + ICH9, 2009)\n",
  devices: DEVICES.map((name) => `name "${name}", bus PCI`).join("\n"),
  accelerators: "Accelerators supported in QEMU binary:\ntcg\nkvm\n",
};

test("reads version, machines and accelerators", () => {
  expect(checkFacts("/q", answers)).toEqual({
    version: "8.2.2",
    machineTypes: ["pc", "q35"],
    accelerators: ["tcg", "kvm"],
  });
});

test.each([
  [{ version: "QEMU emulator version 6.1.0" }, "6.2 is the oldest"],
  [{ version: "busybox" }, "is no QEMU"],
  [{ machines: "Supported machines are:\npc\n" }, "lacks machine q35"],
  [{ devices: answers.devices.replace("pvpanic", "panic") }, "lacks device pvpanic"],
])("refuses %j", (changes, message) => {
  expect(() => checkFacts("/q", { ...answers, ...changes })).toThrow(message);
});

test("a file that is not there is unavailable", async () => {
  await expect(queryQemu("/nowhere/qemu", AbortSignal.timeout(5000))).rejects.toMatchObject({
    kind: "unavailable",
  });
});
