import { expect, test } from "vitest";
import { instanceFaults, refusals, type ByPath } from "../testing.ts";
import { INSTANCE_FAULTS, seed, keys, NIC } from "../testing/faults/instance.ts";

test.each(refusals(INSTANCE_FAULTS))("$what is refused", ({ fields, faults }) => {
  expect(instanceFaults(fields)).toEqual(faults);
});

test.each<[string, ByPath]>([
  ["the least", {}],
  ["no networks", { networks: undefined, "domain.devices.interfaces": undefined }],
  [
    "memory asked for only",
    { "domain.memory": undefined, "domain.resources.requests.memory": "64M" },
  ],
  ["null fields", { "volumes[0].emptyDisk": null, "domain.cpu": null, nodeSelector: null }],
  [
    "secure boot",
    { "domain.firmware.bootloader.efi": {}, "domain.features.smm": { enabled: true } },
  ],
  ["large pages", { "domain.memory": { guest: "64Mi", hugepages: { pageSize: "2Mi" } } }],
  ["pinning", { "domain.cpu": { dedicatedCpuPlacement: true, cores: 2 } }],
  ["a model of processor nobody knows", { "domain.cpu.model": "Tomorrow-v1" }],
  [
    "SR-IOV",
    {
      "networks[0]": { name: "default", multus: { networkName: "n" } },
      [NIC]: { name: "default", sriov: {} },
    },
  ],
  ["a seed and keys", keys({})],
  ["2048 bytes of user data", seed({ userData: "x".repeat(2048) })],
])("%s is taken", (_, fields) => {
  expect(instanceFaults(fields)).toEqual([]);
});
