import { readFile, truncate, writeFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { ended, noneRunning, signal } from "./contract-rig.ts";
import type { MachineRig } from "./contract-rig.ts";
import type { MachineSpec, Template } from "./machine-spec.ts";

/** What a driver with `can.templates` promises. */
export function describeTemplates(makeRig: () => Promise<MachineRig>): void {
  describeClones(makeRig);
  describeMisfits(makeRig);
  describeKeys(makeRig);
}

/** A template of the rig's light machine, which has ended. */
async function makeTemplate(rig: MachineRig): Promise<Template> {
  const machine = await rig.driver().start(rig.lightSpec, rig.host, signal());
  await rig.guestReady();
  const template = await machine.saveTemplate(rig.statePath, signal());
  await ended(rig);
  return template;
}

function cloneSpec(of: MachineRig, template: Template, id: string): MachineSpec {
  const spec: MachineSpec = { ...of.lightSpec, id, origin: { template } };
  Reflect.deleteProperty(spec, "isTemplate");
  return spec;
}

function describeClones(makeRig: () => Promise<MachineRig>): void {
  test("two machines go on from one template at once, and each obeys its own power button", async () => {
    await using source = await makeRig();
    await using one = await makeRig();
    await using other = await makeRig();
    const template = await makeTemplate(source);
    const clones = await Promise.all(
      [one, other].map((rig, index) =>
        rig.driver().start(cloneSpec(source, template, `clone${index}`), rig.host, signal()),
      ),
    );
    for (const clone of clones) expect(await clone.status(signal())).toBe("running");
    await clones[0]?.powerDown(signal());
    expect((await ended(one)).exitStatus).toBe(0);
    expect(await clones[1]?.status(signal())).toBe("running");
    await clones[1]?.powerDown(signal());
    expect((await ended(other)).exitStatus).toBe(0);
  });

  test("a clone has slots and sizes, and a new daemon takes it over", async () => {
    await using source = await makeRig();
    await using rig = await makeRig();
    const spec = cloneSpec(source, await makeTemplate(source), "clone");
    const before = await rig.driver().start(spec, rig.host, signal());
    before.detach();
    const after = await rig.driver().recover(spec, rig.host, signal());
    expect(await after.status(signal())).toBe("running");
    const image = { path: source.images[0], format: "raw", readOnly: true } as const;
    await after.fillSlot("slot-ro-0", image, signal());
    await after.resizeMemory(spec.memoryMaxBytes ?? 0, signal());
    await after.resizeCpus(2, signal());
    expect((await after.stats(signal())).disks).toHaveLength(spec.disks.length);
  });

  test("a machine that became a template never runs again", async () => {
    await using rig = await makeRig();
    const machine = await rig.driver().start(rig.lightSpec, rig.host, signal());
    await machine.saveTemplate(rig.statePath, signal());
    expect(await machine.status(signal())).toBe("off");
    await expect(machine.resume(signal())).rejects.toMatchObject({ kind: "wrongState" });
    await noneRunning(rig);
  });

  test("a machine that was not made for it makes no template", async () => {
    await using rig = await makeRig();
    const machine = await rig.driver().start(rig.spec, rig.host, signal());
    await expect(machine.saveTemplate(rig.statePath, signal())).rejects.toMatchObject({
      kind: "wrongState",
    });
    expect(await machine.status(signal())).toBe("running");
  });
}

function describeMisfits(makeRig: () => Promise<MachineRig>): void {
  const damages: Record<string, (template: Template) => Promise<Template>> = {
    "made of another machine": (template) => Promise.resolve({ ...template, key: "another" }),
    "whose state was cut short": async (template) => {
      await truncate(template.statePath, 10);
      return template;
    },
    "whose state is another's": async (template) => {
      const state = await readFile(template.statePath);
      await writeFile(template.statePath, state.toReversed());
      return template;
    },
    "whose memory is another's": (template) => {
      return Promise.resolve({ ...template, memoryPath: template.statePath });
    },
    "whose files are gone": (template) => Promise.resolve({ ...template, statePath: "/absent" }),
  };
  test.each(Object.entries(damages))(
    "a template %s is a conflict and leaves no process",
    async (_, damage) => {
      await using rig = await makeRig();
      const template = await damage(await makeTemplate(rig));
      await using clone = await makeRig();
      const spec = cloneSpec(rig, template, "clone");
      await expect(clone.driver().start(spec, clone.host, signal())).rejects.toMatchObject({
        kind: "conflict",
      });
      await noneRunning(clone);
      // The same machine boots.
      await clone.driver().start(clone.lightSpec, clone.host, signal());
    },
  );
}

function describeKeys(makeRig: () => Promise<MachineRig>): void {
  test("a template's key is of what a clone must have in common with it, and of no more", async () => {
    await using rig = await makeRig();
    const { lightSpec: spec } = rig;
    const key = (of: MachineSpec): Promise<string> => rig.driver().templateKey(of, signal());
    const slots = { readOnly: 2, writable: 1 };
    const own = { id: "x", uuid: "00000000-0000-4000-8000-000000000001" };
    expect(await key({ ...spec, ...own, slots: { ...slots, dir: "/x" } })).toBe(await key(spec));
    const others = [
      { memoryBytes: 2 * spec.memoryBytes, memoryMaxBytes: 4 * spec.memoryBytes },
      { cpus: 2 },
      { slots: { ...slots, dir: "/x", readOnly: 3 } },
      { disks: [] },
    ];
    const keys = await Promise.all(others.map((other) => key({ ...spec, ...other })));
    expect(new Set([await key(spec), ...keys]).size).toBe(5);
  });
}
