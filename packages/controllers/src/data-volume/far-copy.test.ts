import { CLAIMS, COPY_GRANT, DATA_SOURCES, PODS, grantCopy } from "@trine/kube-client";
import { expect, test } from "vitest";
import { DATA_VOLUMES } from "../kinds.ts";
import { dieAt, momentsOf, podsMade } from "./testing/deaths.ts";
import { AT, COPY_KEY, World, conditions } from "./testing/world.ts";

const GOLD = { namespace: "golden", name: "gold" };
const SPEC = { source: { pvc: GOLD }, storage: {} };
const GRANT = { [COPY_GRANT]: grantCopy(GOLD, "shop", COPY_KEY) };
const GIVERS = "golden";

async function addGold(world: World, volumeMode = "Filesystem"): Promise<void> {
  const resources = { requests: { storage: "5Gi" } };
  await world.kube.create(CLAIMS, {
    ...{ apiVersion: "v1", kind: "PersistentVolumeClaim", metadata: GOLD },
    spec: { accessModes: ["ReadWriteOnce"], volumeMode, resources },
  });
}

function orderOf(pod: { spec: { containers: readonly Record<string, unknown>[] } } | undefined) {
  return JSON.parse((pod?.spec.containers[0]?.["args"] as string[])[0] ?? "") as unknown;
}

test.each([
  ["Filesystem", "/source"],
  ["Block", "/dev/source"],
])(
  "a claim of another namespace (%s) is given there and taken here, and both pods go",
  async (mode, give) => {
    const world = new World();
    await addGold(world, mode);
    await world.add(SPEC, GRANT);
    await world.settle();
    const [giver] = await world.pods(GIVERS);
    const [taker] = await world.pods();
    expect(orderOf(giver)).toEqual({ version: 1, give });
    expect(orderOf(taker)).toMatchObject({ source: { kind: "copy" }, target: "/volume" });
    // Nothing of it is the other namespace's, and the giver has nothing but the claim.
    expect(giver?.metadata.ownerReferences).toBeUndefined();
    expect(giver?.spec.volumes).toEqual([
      {
        name: "source",
        persistentVolumeClaim: expect.objectContaining({ claimName: "gold" }) as object,
      },
    ]);
    expect(taker?.spec.volumes?.map(({ name }) => name)).toEqual(["work", "volume"]);
    expect(await world.phase()).toBe("CloneScheduled");
    expect(world.joined).toEqual([]);
    await world.run("Running", [], {}, GIVERS);
    await world.settle();
    expect(world.joined).toEqual([]);
    await world.run("Running");
    world.report = { state: "running", progress: 70 };
    await world.settle();
    const names = [`golden/${giver?.metadata.name ?? ""}`, `shop/${taker?.metadata.name ?? ""}`];
    expect(world.joined[0]).toEqual(names);
    expect(await world.phase()).toBe("CloneInProgress");
    await world.run("Succeeded");
    await world.settle();
    expect(await world.phase()).toBe("Succeeded");
    expect([...(await world.pods()), ...(await world.pods(GIVERS))]).toEqual([]);
    expect(world.events).toEqual(["CloneSucceeded"]);
  },
);

test("what was granted is copied, whatever the DataSource names by now", async () => {
  const world = new World();
  await addGold(world);
  const sourceRef = { kind: "DataSource", name: "debian" };
  const source = { pvc: { namespace: "vault", name: "keys" } };
  await world.kube.create(DATA_SOURCES, {
    metadata: { namespace: "shop", name: "debian" },
    spec: { source },
  });
  await world.add({ sourceRef, storage: {} }, GRANT);
  await world.settle();
  const [giver] = await world.pods(GIVERS);
  expect(giver?.spec.volumes?.[0]?.["persistentVolumeClaim"]).toMatchObject({ claimName: "gold" });
  expect(await world.pods("vault")).toEqual([]);
});

test.each([
  ["none", {}],
  ["of another claim", { [COPY_GRANT]: grantCopy({ ...GOLD, name: "a" }, "shop", COPY_KEY) }],
  ["to another namespace", { [COPY_GRANT]: grantCopy(GOLD, "other", COPY_KEY) }],
  ["by another key", { [COPY_GRANT]: grantCopy(GOLD, "shop", Buffer.alloc(32)) }],
])("without a grant nothing is made: %s", async (_, annotations) => {
  const world = new World();
  await addGold(world);
  await world.add(SPEC, annotations);
  await world.settle();
  expect(await world.phase()).toBe("Failed");
  expect([...(await world.pods()), ...(await world.pods(GIVERS))]).toEqual([]);
});

test("a claim that a pod may write is not given; it is when that has gone", async () => {
  const world = new World();
  await addGold(world);
  const volumes = [{ name: "v", persistentVolumeClaim: { claimName: "gold" } }];
  const at = { namespace: "golden", name: "user" };
  await world.kube.create(PODS, { metadata: at, spec: { containers: [], volumes } });
  await world.add(SPEC, GRANT);
  await world.settle();
  expect(await world.pods(GIVERS)).toEqual([]);
  expect(await conditions(world)).toMatchObject({ Running: "False SourceInUse" });
  await world.kube.delete(PODS, at);
  await world.settle();
  expect(await world.pods(GIVERS)).toHaveLength(1);
});

test("a giver that is evicted is made anew, one that cannot read is told of", async () => {
  const world = new World();
  await addGold(world);
  await world.add(SPEC, GRANT);
  await world.settle();
  const [before] = await world.pods(GIVERS);
  await world.run("Failed", [], { reason: "Evicted", message: "low on memory" }, GIVERS);
  await world.settle();
  const [after] = await world.pods(GIVERS);
  expect(after?.metadata.name).toBe(before?.metadata.name);
  expect(after?.metadata.uid).not.toBe(before?.metadata.uid);
  const message = JSON.stringify({ kind: "invalid", message: "/source/disk.img is no disk" });
  const container = { name: "import", ready: false, restartCount: 1, image: "", imageID: "" };
  const lastState = { terminated: { exitCode: 1, message } };
  await world.run("Running", [{ ...container, lastState }], {}, GIVERS);
  await world.settle();
  const { status } = await world.volume();
  expect(status?.conditions?.find(({ type }) => type === "Running")).toMatchObject({
    status: "False",
    message: "the source: /source/disk.img is no disk",
  });
});

test("a volume that goes in the middle takes its giver along", async () => {
  const world = new World();
  await addGold(world);
  await world.add(SPEC, GRANT);
  await world.settle();
  expect(await world.pods(GIVERS)).toHaveLength(1);
  await world.kube.delete(DATA_VOLUMES, AT);
  world.restart();
  await world.settle();
  expect(await world.pods(GIVERS)).toEqual([]);
});

test("a giver of another namespace, or of a volume that had the name before, is not taken for its own", async () => {
  const world = new World();
  await addGold(world);
  await world.add(SPEC, GRANT);
  await world.settle();
  const [own] = await world.pods(GIVERS);
  if (own === undefined) throw new Error("there is no giver");
  const { labels, annotations, name } = own.metadata;
  for (const at of [
    { namespace: "thief", name },
    { namespace: "golden", name: "give-disk-00000000" },
  ]) {
    const metadata = { ...at, ...(labels && { labels }), ...(annotations && { annotations }) };
    await world.kube.create(PODS, { metadata, spec: own.spec });
  }
  await world.settle();
  expect(await world.pods("thief")).toEqual([]);
  expect((await world.pods(GIVERS)).map(({ metadata }) => metadata.uid)).toEqual([
    own.metadata.uid,
  ]);
});

/** All that a copy goes through. */
async function wholeLife(world: World): Promise<void> {
  await addGold(world);
  await world.add(SPEC, GRANT);
  await world.settle();
  await world.run("Running", [], {}, GIVERS);
  await world.run("Running");
  await world.settle();
  await world.run("Succeeded");
  await world.settle();
  expect(await world.phase()).toBe("Succeeded");
  expect([...(await world.pods()), ...(await world.pods(GIVERS))]).toEqual([]);
}

/** Of the controller, in a whole life that nothing disturbs. */
const OWN_WRITES = 13;

test("how many writes a whole life has", async () => {
  const world = new World();
  let count = 0;
  world.onWrite("after", () => (count += 1));
  await wholeLife(world);
  expect(count).toBe(OWN_WRITES);
});

test.each(momentsOf(OWN_WRITES))(
  "a process that dies %s its write %i copies once, and leaves no pod",
  async (when, at) => {
    const world = new World();
    const count = dieAt(world, when, at);
    await wholeLife(world);
    expect(count()).toBeGreaterThan(at);
    expect(podsMade(world)).toBe(2);
  },
);
