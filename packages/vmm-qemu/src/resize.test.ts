import type { QmpClient } from "@trine/qmp";
import { machineSpec } from "@trine/vmm/testing";
import { expect, test } from "vitest";
import { resizeCpus } from "./resize.ts";

const signal = AbortSignal.timeout(60_000);

/** A machine of one CPU that may have four; `plugged` of them are there beside the first. */
function vmm(plugged: readonly number[]) {
  const told: string[] = [];
  const places = [3, 1, 0, 2].map((index) => ({
    ...{ type: "max-x86_64-cpu", "vcpus-count": 1, props: { "socket-id": index } },
    ...(index === 0 ? { "qom-path": "/machine/unattached/device[0]" } : {}),
    ...(plugged.includes(index) ? { "qom-path": `/machine/peripheral/cpu-${index}` } : {}),
  }));
  const execute = (command: string, { id = "" }: { id?: string }): Promise<unknown> => {
    if (command === "query-hotpluggable-cpus") return Promise.resolve(places);
    told.push(`${command} ${id}`);
    return Promise.resolve({});
  };
  return { told, client: { execute } as unknown as QmpClient };
}

test.each([
  ["kvm", [], 3, ["device_add cpu-1", "device_add cpu-2"], 3],
  ["kvm", [1, 2], 3, [], 3],
  ["kvm", [1, 2, 3], 2, ["device_del cpu-3", "device_del cpu-2"], 2],
  ["kvm", [1], 1, ["device_del cpu-1"], 1],
  // An emulation that takes one back does not survive it, or not that it is given again.
  ["tcg", [1, 2], 1, [], 3],
  ["tcg", [1, 2], 4, ["device_add cpu-3"], 4],
] as const)(
  "%s, CPUs %j beside the first, %i wanted: %j",
  async (accelerator, plugged, count, told, there) => {
    const spec = machineSpec({ accelerator, cpus: 1, maxCpus: 4 });
    const machine = vmm(plugged);
    expect(await resizeCpus(spec, machine.client, count, signal)).toBe(there);
    expect(machine.told).toEqual(told);
  },
);

test("under emulation a guest that began with several CPUs is given no more", async () => {
  const spec = machineSpec({ accelerator: "tcg", cpus: 2, maxCpus: 4 });
  const machine = vmm([1]);
  expect(await resizeCpus(spec, machine.client, 2, signal)).toBe(2);
  await expect(resizeCpus(spec, machine.client, 3, signal)).rejects.toMatchObject({
    kind: "wrongState",
    message: expect.stringContaining("started anew") as string,
  });
  expect(machine.told).toEqual([]);
});
