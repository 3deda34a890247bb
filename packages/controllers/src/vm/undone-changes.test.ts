import { expect, test } from "vitest";
import { INSTANCES } from "../kinds.ts";
import { machine } from "./testing/samples.ts";
import { AT, World } from "./testing/world.ts";

/** The template with such places. */
function placed(nodeSelector: Readonly<Record<string, string>>) {
  const { template } = machine().spec;
  if (template.spec === undefined) throw new Error("no spec");
  return { template: { ...template, spec: { ...template.spec, nodeSelector } } };
}

test("what another undoes as it is written is tried once a minute, another change at once", async () => {
  const world = new World();
  await world.add({ runStrategy: "Always" });
  await world.settle();
  await world.set("Running");
  await world.settle();
  const patch = world.kube.patch.bind(world.kube);
  let tried = 0;
  /** A mutating webhook that says where instances run. */
  world.kube.patch = async (resource, at, operations, options) => {
    const made = await patch(resource, at, operations, options);
    if (resource.plural !== INSTANCES.plural) return made;
    tried += 1;
    const { spec } = await world.vmi();
    const undone = { ...(await world.vmi()), spec: { ...spec, nodeSelector: { its: "own" } } };
    return (await world.kube.update(INSTANCES, undone)) as unknown as typeof made;
  };
  await world.change(placed({ disk: "fast" }));
  await world.settle();
  expect(tried).toBe(1);
  world.nowMs += 59_000;
  await world.settle();
  expect(tried).toBe(1);
  world.nowMs += 1_000;
  await world.settle();
  expect(tried).toBe(2);
  await world.change(placed({ disk: "slow" }));
  await world.settle();
  expect(tried).toBe(3);
  world.kube.patch = patch;
  world.nowMs += 60_000;
  await world.settle();
  expect((await world.kube.get(INSTANCES, AT)).spec.nodeSelector).toEqual({ disk: "slow" });
});
