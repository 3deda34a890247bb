import { CLAIMS, DATA_SOURCES, type KubeApi } from "@trine/kube-client";
import { MemoryKube } from "@trine/kube-client/testing";
import { expect, test } from "vitest";
import { DATA_VOLUMES } from "../kinds.ts";
import { createVolume } from "./create-volume.ts";
import type { VolumeTemplate } from "./data-volumes.ts";
import { machine } from "./testing/samples.ts";

const FAR = { pvc: { namespace: "golden", name: "debian" } };
const OWN = { pvc: { namespace: "shop", name: "own" } };
const { signal } = new AbortController();
const byRef = (name: string, namespace?: string): VolumeTemplate["spec"] => ({
  sourceRef: { kind: "DataSource", name, ...(namespace !== undefined && { namespace }) },
});

function mounted(serviceAccountName: string) {
  return { name: "account", serviceAccount: { serviceAccountName } };
}

/** What becomes of a template whose machine's account may copy out of `golden`, or not; and the events. */
async function made(spec: VolumeTemplate["spec"], mayCopy = true, of: object = {}) {
  const kube = new MemoryKube();
  await kube.create(CLAIMS, { metadata: { ...OWN.pvc }, spec: {} });
  await kube.create(CLAIMS, { metadata: { ...FAR.pvc }, spec: {} });
  for (const [namespace, name, source] of [
    ["golden", "debian", FAR],
    ["shop", "far", FAR],
    ["shop", "near", OWN],
  ] as const) {
    await kube.create(DATA_SOURCES, { metadata: { namespace, name }, spec: { source } });
  }
  const create: KubeApi["create"] = (resource, object, options) =>
    resource.plural === "subjectaccessreviews"
      ? Promise.resolve({ ...object, status: { allowed: mayCopy } } as never)
      : kube.create(resource, object, options);
  const api = { get: kube.get.bind(kube), create } as unknown as KubeApi;
  const told: string[] = [];
  const events = { record: (_: object, { reason }: { reason: string }) => void told.push(reason) };
  const { spec: instance } = machine().spec.template;
  if (instance === undefined) throw new Error("no spec");
  const vm = machine({ template: { spec: { ...instance, ...of } } });
  const template = { metadata: { name: "root" }, spec };
  const failed = await createVolume({ api, events }, vm, template, signal).catch(
    (cause: unknown) => cause,
  );
  const { items } = await kube.list(DATA_VOLUMES, {});
  return { spec: items[0]?.spec, failed, told };
}

test.each<[string, VolumeTemplate["spec"], object?]>([
  ["a DataSource there", byRef("debian", "golden")],
  ["a DataSource here", byRef("far")],
  ["a DataSource here, of its own namespace", byRef("near"), OWN],
])("is made with the claim that was looked at: %s", async (_, template, source = FAR) => {
  const { spec, failed, told } = await made(template);
  expect(failed).toBeUndefined();
  expect(spec).toEqual({ source });
  expect(told).toEqual(["SuccessfulDataVolumeCreate"]);
});

test.each([
  ["a claim there", { source: FAR }],
  ["a DataSource there", byRef("debian", "golden")],
  ["a DataSource here", byRef("far")],
])("is not made without the account's right: %s", async (_, template) => {
  const { spec, failed, told } = await made(template, false);
  expect(failed).toMatchObject({ kind: "forbidden" });
  expect(spec).toBeUndefined();
  expect(told).toEqual(["UnauthorizedDataVolumeCreate"]);
});

test("what is of its own namespace is made without a right", async () => {
  for (const template of [byRef("near"), { source: OWN }]) {
    expect((await made(template, false)).spec).toEqual({ source: OWN });
  }
});

test("a DataSource that is not there is waited for", async () => {
  const { failed, spec } = await made(byRef("later"));
  expect(failed).toMatchObject({ kind: "notFound" });
  expect(spec).toBeUndefined();
});

test("a claim that is not there is told of, and the volume made all the same", async () => {
  const source = { pvc: { namespace: "shop", name: "later" } };
  const { spec, told } = await made({ source });
  expect(spec).toEqual({ source });
  expect(told).toEqual(["SourcePVCNotAvailabe", "SuccessfulDataVolumeCreate"]);
});

test.each([
  ["default", {}],
  ["of-volume", { volumes: [mounted("of-volume")] }],
  ["of-spec", { serviceAccountName: "of-spec" }],
  ["of-spec", { serviceAccountName: "of-spec", volumes: [mounted("of-volume")] }],
])("the right that counts is of the account %s: %o", async (account, of) => {
  const { failed } = await made({ source: FAR }, false, of);
  const user = `system:serviceaccount:shop:${account}`;
  expect(String(failed)).toContain(
    `not authorized to create DataVolume: User ${user} has insufficient permissions in clone source namespace golden`,
  );
});
