import type { MachineSpec } from "@trine/vmm";
import { machineSpec } from "@trine/vmm/testing";
import { expect, test } from "vitest";
import { planMachine } from "./plan-machine.ts";

function plan(firmwareFiles: MachineSpec["firmwareFiles"] = []): ReturnType<typeof planMachine> {
  const environment = { qemuPath: "/usr/bin/qemu", binds: [] };
  return planMachine(machineSpec({ firmwareFiles }), environment);
}

test("a firmware file is read from a bind of its own, and its contents are in no argument", () => {
  const { argv, jail } = plan([
    { name: "opt/com.coreos/config", path: "/pod/ignition.json" },
    { name: "opt/other", path: "/pod/other" },
  ]);
  expect(argv.filter((_, index) => argv[index - 1] === "-fw_cfg")).toEqual([
    "name=opt/com.coreos/config,file=/files/firmware-0",
    "name=opt/other,file=/files/firmware-1",
  ]);
  expect(jail.binds).toEqual(
    expect.arrayContaining([
      { source: "/pod/ignition.json", target: "/files/firmware-0" },
      { source: "/pod/other", target: "/files/firmware-1" },
    ]),
  );
});

test("a machine without any has no such argument", () => {
  expect(plan().argv).not.toContain("-fw_cfg");
});

test.each([
  ["etc/acpi", "/a", /firmware file etc\/acpi: opt\/ and a name/],
  ["opt/a,file=/etc/shadow", "/a", /opt\/ and a name/],
  [`opt/${"a".repeat(52)}`, "/a", /opt\/ and a name/],
  ["opt/a", "a", /path a is not absolute/],
])("refuses %s at %s", (name, path, says) => {
  expect(() => plan([{ name, path }])).toThrow(says);
});
