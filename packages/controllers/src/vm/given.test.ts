import { clusterInstancetypes } from "@trine/instancetypes";
import { expect, test } from "vitest";
import { World } from "./testing/world.ts";

const INSTANCETYPES = {
  group: "instancetype.kubevirt.io",
  version: "v1beta1",
  plural: "virtualmachineclusterinstancetypes",
  kind: "VirtualMachineClusterInstancetype",
  namespaced: false,
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
  await world.change({ runStrategy: "Halted" });
  await world.settle();
  expect(await world.hasInstance()).toBe(false);
});
