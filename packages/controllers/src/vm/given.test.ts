import { clusterInstancetypes, clusterPreferences } from "@trine/instancetypes";
import { expect, test } from "vitest";
import { World } from "./testing/world.ts";

const INSTANCETYPES = {
  group: "instancetype.kubevirt.io",
  version: "v1beta1",
  plural: "virtualmachineclusterinstancetypes",
  kind: "VirtualMachineClusterInstancetype",
  namespaced: false,
};

const PREFERENCES = {
  ...INSTANCETYPES,
  plural: "virtualmachineclusterpreferences",
  kind: "VirtualMachineClusterPreference",
};

test("an instance type is kept at first use: what changes later does not reach the machine", async () => {
  const world = new World();
  const small = clusterInstancetypes().find(({ metadata }) => metadata?.name === "u1.small");
  if (small === undefined) throw new Error("no u1.small");
  const given = await world.kube.create(INSTANCETYPES, small);
  const bare = { template: { spec: { domain: { devices: {} } } } };
  await world.add({ runStrategy: "Always", instancetype: { name: "u1.small" }, ...bare });
  await world.settle();
  const ran = (await world.vmi()).spec.domain;
  expect(ran).toMatchObject({ cpu: { sockets: 1 }, memory: { guest: "2Gi" } });
  const { uid, generation } = given.metadata;
  const name = `web-u1.small-v1beta1-${uid}-${String(generation)}`;
  expect((await world.status()).instancetypeRef).toEqual({
    name: "u1.small",
    controllerRevisionRef: { name },
  });
  expect((await world.vmi()).metadata.annotations).toMatchObject({
    "kubevirt.io/cluster-instancetype-name": "u1.small",
  });
  const larger = { ...small.spec, cpu: { guest: 4 } };
  await world.kube.update(INSTANCETYPES, { ...given, spec: larger });
  await world.change({ runStrategy: "Halted" });
  await world.settle();
  await world.change({ runStrategy: "Always" });
  await world.settle();
  expect((await world.vmi()).spec.domain.cpu).toEqual(ran.cpu);
});

test("a machine whose instance type is missing says so, and can still be stopped", async () => {
  const world = new World();
  await world.add({ runStrategy: "Always" });
  await world.settle();
  await world.set("Running");
  await world.change({ instancetype: { name: "gone" } });
  expect(await world.settle()).toMatchObject({ kind: "notFound" });
  expect((await world.status()).conditions).toContainEqual(
    expect.objectContaining({ type: "Failure", reason: "FailedFindInstancetype" }),
  );
  expect(await isRestartRequired(world)).toBe(false);
  await world.change({ runStrategy: "Halted" });
  await world.settle();
  expect(await world.hasInstance()).toBe(false);
});

const BARE = { template: { spec: { domain: { devices: {} } } } };

async function worldWithTypes(): Promise<World> {
  const world = new World();
  const small = clusterInstancetypes().find(({ metadata }) => metadata?.name === "u1.small");
  const fedora = clusterPreferences().find(({ metadata }) => metadata?.name === "fedora");
  if (small === undefined || fedora === undefined) throw new Error("not in the catalogue");
  await world.kube.create(INSTANCETYPES, small);
  await world.kube.create(PREFERENCES, fedora);
  return world;
}

const NAMED = { instancetype: { name: "u1.small" }, preference: { name: "fedora" } };

async function isRestartRequired(world: World): Promise<boolean> {
  const { conditions = [] } = await world.status();
  return conditions.some(({ type }) => type === "RestartRequired");
}

test("by the policy expand a new machine says itself what it is given, and runs as it would have", async () => {
  const byName = await worldWithTypes();
  await byName.add({ runStrategy: "Always", ...NAMED, ...BARE });
  await byName.settle();
  const world = await worldWithTypes();
  world.configured = { referencePolicy: "expand" };
  await world.add({ runStrategy: "Always", ...NAMED, ...BARE });
  await world.settle();
  const { spec } = await world.vm();
  expect(spec).not.toHaveProperty("instancetype");
  expect(spec).not.toHaveProperty("preference");
  expect(spec.template.spec?.domain).toMatchObject({
    cpu: { sockets: 1 },
    memory: { guest: "2Gi" },
  });
  expect((await world.vmi()).spec.domain.devices).toEqual((await byName.vmi()).spec.domain.devices);
  expect((await world.vmi()).spec.domain.memory).toEqual((await byName.vmi()).spec.domain.memory);
  expect(await world.status()).not.toHaveProperty("instancetypeRef");
  const kept = world.kube.writes.filter(({ resource }) => resource === "controllerrevisions");
  expect(kept).toHaveLength(1); // of its start
});

test("expand leaves what is kept in a revision, expandAll does not, and a machine runs on through it", async () => {
  const world = await worldWithTypes();
  await world.add({ runStrategy: "Always", ...NAMED, ...BARE });
  await world.settle();
  await world.set("Running");
  const ran = (await world.vmi()).spec;
  world.configured = { referencePolicy: "expand" };
  await world.settle();
  expect((await world.vm()).spec).toMatchObject(NAMED);
  world.configured = { referencePolicy: "expandAll" };
  await world.settle();
  expect((await world.vm()).spec).not.toHaveProperty("instancetype");
  expect(await world.status()).not.toHaveProperty("preferenceRef");
  expect((await world.vmi()).spec).toEqual(ran);
  expect(await isRestartRequired(world)).toBe(false);
});

test("what is missing, or contradicts, is said by any policy, and nothing is written of it", async () => {
  const world = await worldWithTypes();
  world.configured = { referencePolicy: "expandAll" };
  await world.add({ runStrategy: "Always", instancetype: { name: "gone" }, ...BARE });
  expect(await world.settle()).toMatchObject({ kind: "notFound" });
  expect((await world.status()).conditions).toContainEqual(
    expect.objectContaining({ type: "Failure", reason: "FailedFindInstancetype" }),
  );
  const sized = { template: { spec: { domain: { devices: {}, memory: { guest: "1Gi" } } } } };
  await world.change({ instancetype: { name: "u1.small" }, ...sized });
  expect(await world.settle()).toMatchObject({ kind: "invalid" });
  expect((await world.vm()).spec.instancetype).toEqual({ name: "u1.small" });
  expect(await world.hasInstance()).toBe(false);
});
