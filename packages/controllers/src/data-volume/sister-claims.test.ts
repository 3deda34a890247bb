// Volumes of one machine whose storage is bound by the first pod that uses it.
import { CLAIMS, PODS, type Pod, type Stored } from "@trine/kube-client";
import { expect, test } from "vitest";
import { INSTANCES } from "../kinds.ts";
import { instance } from "../testing.ts";
import { HTTP, World } from "./testing/world.ts";

const HERE = "shop";
const PULLED = { ...HTTP, source: { blank: {} } };
const WHOLE = { cpu: "2", memory: "20Gi" };
const SMALL = { cpu: "100m", memory: "128Mi" };

/** A world in which nobody has bound a claim yet. */
async function unbound(): Promise<World> {
  const world = new World();
  world.binds = false;
  await world.addClass("WaitForFirstConsumer");
  return world;
}

/** A machine of 20 GiB that is to have volumes of these names. */
async function addMachine(world: World, ...names: readonly string[]): Promise<void> {
  const { apiVersion, kind, spec } = instance({
    "spec.volumes": names.map((name) => ({ name, persistentVolumeClaim: { claimName: name } })),
    "spec.domain.memory": { guest: "20Gi" },
    "spec.domain.resources": { requests: { cpu: "2" } },
  });
  const metadata = { name: "web", namespace: HERE };
  await world.kube.create(INSTANCES, { apiVersion, kind, spec, metadata });
}

async function addClaim(world: World, name: string, storageClassName: string): Promise<void> {
  await world.kube.create(CLAIMS, {
    metadata: { name, namespace: HERE },
    spec: { accessModes: ["ReadWriteOnce"], storageClassName },
  });
}

async function bind(world: World, ...names: readonly string[]): Promise<void> {
  for (const name of names) {
    const claim = await world.kube.get(CLAIMS, { namespace: HERE, name });
    const status = { phase: "Bound", capacity: { storage: "20Gi" } };
    await world.kube.update(CLAIMS, { ...claim, status }, { subresource: "status" });
  }
}

interface Claiming {
  readonly persistentVolumeClaim?: { readonly claimName: string };
}

/** What each pod names, asks for and mounts. */
async function filling(world: World) {
  const pods: readonly Stored<Pod>[] = await world.pods();
  return pods.map(({ spec }) => {
    const [container] = spec.containers;
    const volumes = (spec.volumes ?? []) as readonly Claiming[];
    const { requests } = container?.["resources"] as { readonly requests: object };
    const mounts = container?.["volumeMounts"] as readonly { readonly name: string }[];
    return {
      claims: volumes.flatMap((each) => each.persistentVolumeClaim?.claimName ?? []),
      requests,
      mounts: mounts.map(({ name }) => name),
    };
  });
}

test("one pod binds them all, and asks for the machine; the others are filled where they are then", async () => {
  const world = await unbound();
  // The order is the machine's.
  for (const name of ["logs", "disk", "data"]) await world.add(PULLED, {}, name);
  await world.settle();
  await addMachine(world, "disk", "data", "logs");
  await world.settle();
  expect(await filling(world)).toEqual([
    { claims: ["disk", "data", "logs"], requests: WHOLE, mounts: ["work", "volume"] },
  ]);
  await bind(world, "disk", "data", "logs");
  await world.settle();
  const others = (await filling(world)).filter(({ claims: [own] }) => own !== "disk");
  expect(others).toHaveLength(2);
  expect(others).toEqual(
    expect.arrayContaining(
      ["data", "logs"].map((name) => ({
        claims: [name],
        requests: SMALL,
        mounts: ["work", "volume"],
      })),
    ),
  );
});

test("a volume that comes when another is being bound waits for it, and goes where it is", async () => {
  const world = await unbound();
  await addMachine(world, "disk", "data");
  await world.add(PULLED, {}, "data");
  await world.settle();
  await world.add(PULLED);
  await world.settle();
  expect(await filling(world)).toEqual([expect.objectContaining({ claims: ["data"] })]);
  await bind(world, "data");
  await world.settle();
  expect(await filling(world)).toContainEqual({
    claims: ["disk", "data"],
    requests: SMALL, // the room is held by the pod of the other
    mounts: ["work", "volume"],
  });
});

test("one that cannot be filled now holds up no other, which binds it too", async () => {
  const world = await unbound();
  await addClaim(world, "gold", "local");
  await world.kube.create(PODS, {
    metadata: { namespace: HERE, name: "user" },
    spec: {
      containers: [],
      volumes: [{ name: "v", persistentVolumeClaim: { claimName: "gold" } }],
    },
  });
  const source = { pvc: { namespace: HERE, name: "gold" } };
  await world.add({ ...HTTP, source });
  await world.add(PULLED, {}, "data");
  await addMachine(world, "disk", "data");
  await world.settle();
  expect(await filling(world)).toMatchObject([{ claims: ["data", "disk"], requests: WHOLE }]);
});

test("claims that are filled otherwise count too, those that the cluster binds by itself once they are", async () => {
  const world = await unbound();
  await addClaim(world, "own", "local");
  await addClaim(world, "soon", "immediate");
  await addClaim(world, "there", "immediate");
  await bind(world, "there");
  await world.addClass("Immediate", { name: "immediate" });
  await world.add(PULLED);
  await addMachine(world, "own", "soon", "there", "none", "disk");
  await world.settle();
  expect(await filling(world)).toMatchObject([
    { claims: ["disk", "own", "there"], requests: WHOLE },
  ]);
});
