import { expect, test } from "vitest";
import { signal } from "./contract-rig.ts";
import type { MachineRig } from "./contract-rig.ts";
import type { SlotImage } from "./machine-spec.ts";

const MIB = 1024 * 1024;

/** What a driver promises of slots and of machines that change their size. */
export function describeLightMachines(makeRig: () => Promise<MachineRig>): void {
  describeSlots(makeRig);
  describeSizes(makeRig);
}

function image(path: string, readOnly = true): SlotImage {
  return { path, format: "raw", readOnly };
}

function describeSlots(makeRig: () => Promise<MachineRig>): void {
  test("a slot is filled, emptied and filled again, and each may be repeated", async () => {
    await using rig = await makeRig();
    const machine = await rig.driver().start(rig.lightSpec, rig.host, signal());
    const [first, second] = rig.images;
    await machine.fillSlot("slot-ro-0", image(first), signal());
    await machine.fillSlot("slot-ro-0", image(first), signal());
    await machine.fillSlot("slot-ro-1", image(first), signal());
    await expect(machine.fillSlot("slot-ro-0", image(second), signal())).rejects.toMatchObject({
      kind: "wrongState",
    });
    await machine.emptySlot("slot-ro-0", signal());
    await machine.emptySlot("slot-ro-0", signal());
    await machine.fillSlot("slot-ro-0", image(second), signal());
    expect(await machine.status(signal())).toBe("running");
  });

  test("a new daemon knows what is in a slot", async () => {
    await using rig = await makeRig();
    const before = await rig.driver().start(rig.lightSpec, rig.host, signal());
    const [first, second] = rig.images;
    await before.fillSlot("slot-rw-0", image(first, false), signal());
    before.detach();
    const after = await rig.driver().recover(rig.lightSpec, rig.host, signal());
    await after.fillSlot("slot-rw-0", image(first, false), signal());
    const other = after.fillSlot("slot-rw-0", image(second, false), signal());
    await expect(other).rejects.toThrow(first);
    await after.emptySlot("slot-rw-0", signal());
    await after.fillSlot("slot-rw-0", image(second, false), signal());
  });

  test("a slot that is none is notFound, an image that does not belong there invalid", async () => {
    await using rig = await makeRig();
    const machine = await rig.driver().start(rig.lightSpec, rig.host, signal());
    const [first] = rig.images;
    const none = machine.fillSlot("slot-ro-9", image(first), signal());
    await expect(none).rejects.toMatchObject({ kind: "notFound" });
    for (const wrong of [image(first, false), image("/etc/passwd"), image(`${first}/../x`)]) {
      const filled = machine.fillSlot("slot-ro-0", wrong, signal());
      await expect(filled).rejects.toMatchObject({ kind: "invalid" });
    }
  });
}

function describeSizes(makeRig: () => Promise<MachineRig>): void {
  test("memory and CPUs change within their limits, and each may be repeated", async () => {
    await using rig = await makeRig();
    const machine = await rig.driver().start(rig.lightSpec, rig.host, signal());
    for (const mib of [128, 128, 64, 96]) await machine.resizeMemory(mib * MIB, signal());
    for (const count of [2, 2]) await machine.resizeCpus(count, signal());
    for (const mib of [62, 130, 65]) {
      const resized = machine.resizeMemory(mib * MIB, signal());
      await expect(resized).rejects.toMatchObject({ kind: "invalid" });
    }
    for (const count of [0, 3, 1.5]) {
      const resized = machine.resizeCpus(count, signal());
      await expect(resized).rejects.toMatchObject({ kind: "invalid" });
    }
    expect(await machine.status(signal())).toBe("running");
  });
}
