import { TrineError } from "@trine/base";
import { expect, test } from "vitest";
import { DATA_VOLUMES, MACHINES } from "../kinds.ts";
import { AT, World } from "./testing/world.ts";

/** All that a machine goes through, in one life. */
async function wholeLife(world: World): Promise<void> {
  await world.add({
    runStrategy: "RerunOnFailure",
    dataVolumeTemplates: [{ metadata: { name: "disk" }, spec: { source: { blank: {} } } }],
  });
  await world.settle();
  const volume = await world.kube.get(DATA_VOLUMES, { namespace: "shop", name: "disk" });
  const status = { phase: "Succeeded" };
  await world.kube.update(DATA_VOLUMES, { ...volume, status }, { subresource: "status" });
  await world.settle();
  await world.set("Running");
  await world.settle();
  await world.grow(2);
  await world.settle();
  expect((await world.vmi()).spec.domain.cpu?.sockets).toBe(2);
  await world.set("Failed");
  await world.settle();
  await world.change({ runStrategy: "Halted" });
  await world.settle();
  await world.kube.delete(MACHINES, AT);
  await world.settle();
}

const WRITES = 26;

test.each(
  Array.from({ length: WRITES }, (_, at) => at).flatMap((at) => [
    ["before", at] as const,
    ["after", at] as const,
  ]),
)("a process that dies %s its write %i leaves nothing half done", async (when, at) => {
  const world = new World();
  let count = 0;
  world.kube.hooks[when] = () => {
    count += 1;
    if (count !== at + 1) return;
    world.restart();
    throw new TrineError("unavailable", "died here");
  };
  // Writes of the test itself may be hit too: such a one is done again as a user would.
  const life = await wholeLife(world).catch((cause: unknown) => cause);
  if (life !== undefined) {
    expect(life).toMatchObject({ message: "died here" });
    return;
  }
  await expect(world.vm()).rejects.toMatchObject({ kind: "notFound" });
  expect(await world.hasInstance()).toBe(false);
  const created = world.events.filter((reason) => reason === "SuccessfulDataVolumeCreate");
  expect(created.length).toBeLessThanOrEqual(1);
});
