import { pollUntil } from "@trine/base";
import { type KubeObject, resourceOf } from "@trine/kube-client";
import { MemoryKube } from "@trine/kube-client/testing";
import { CDI, CDI_CONFIG, KUBEVIRT } from "@trine/kube-types";
import { expect, test } from "vitest";
import { installationController } from "./controller.ts";

const KUBEVIRTS = resourceOf(KUBEVIRT);
const CDIS = resourceOf(CDI);

test("writes what serves and what nothing acts on, once, and again when that changes", async () => {
  let nowMs = Date.parse("2026-01-02T03:00:00Z");
  const kube = new MemoryKube({ now: () => (nowMs += 1000) });
  const at = { namespace: "trine-system", name: "kubevirt" };
  const spec = { configuration: { minCPUModel: "Penryn" } };
  await kube.create(KUBEVIRTS, { metadata: at, spec });
  await kube.create(CDIS, { metadata: { name: "cdi" }, spec: {} });
  const make = <T extends KubeObject>(...args: Parameters<typeof kube.cache<T>>) =>
    kube.cache(...args);
  const failures: unknown[] = [];
  const controller = installationController(
    {
      api: kube,
      kubeVirts: kube.cache(KUBEVIRTS),
      version: "0.1.0",
      now: () => new Date("2026-01-02T03:04:05Z"),
      onFailure: (...failure) => failures.push(failure),
    },
    make,
  );
  const stop = new AbortController();
  const ran = controller.run(stop.signal);
  const said = (type: string) =>
    pollUntil(`condition ${type}`, { ms: 10_000, everyMs: 5 }, async () => {
      const { status } = await kube.get(KUBEVIRTS, at);
      return status?.conditions?.find((each) => each.type === type);
    });
  // What a kubectl shows and what KubeVirt's own tests wait for.
  expect(await said("Available")).toMatchObject({ status: "True" });
  expect((await said("trine.dev/InertFields")).message).toBe(
    "Nothing acts on spec.configuration.minCPUModel.",
  );
  const first = await kube.get(KUBEVIRTS, at);
  expect(first.status).toMatchObject({
    phase: "Deployed",
    observedKubeVirtVersion: "0.1.0",
    observedGeneration: first.metadata.generation,
  });
  await pollUntil("CDI is told of", { ms: 10_000, everyMs: 5 }, async () => {
    const { status } = await kube.get(CDIS, { name: "cdi" });
    return status?.phase === "Deployed" || undefined;
  });
  await kube.update(KUBEVIRTS, { ...first, spec: {} });
  await pollUntil("the field is gone", { ms: 10_000, everyMs: 5 }, async () => {
    const { status } = await kube.get(KUBEVIRTS, at);
    return status?.conditions?.length === 4 || undefined;
  });
  // A second one counts when the first is gone.
  const other = { ...at, name: "other" };
  await kube.create(KUBEVIRTS, { metadata: other, spec: {} });
  await kube.delete(KUBEVIRTS, at);
  await pollUntil("the second is told of", { ms: 10_000, everyMs: 5 }, async () => {
    const { status } = await kube.get(KUBEVIRTS, other);
    return status?.phase === "Deployed" || undefined;
  });
  stop.abort();
  await ran;
  expect(failures).toEqual([]);
  const own = kube.writes.filter(({ verb }) => verb === "update");
  // Twice of KubeVirt's and once of its successor's, once of CDI's, and the test's own.
  expect(own).toHaveLength(5);
});

test("says where uploads go while somebody says how that is reached", async () => {
  const kube = new MemoryKube();
  const configs = resourceOf(CDI_CONFIG);
  const cdi = await kube.create(CDIS, {
    metadata: { name: "cdi" },
    spec: { config: { uploadProxyURLOverride: "https://up.example" } },
  });
  const failures: unknown[] = [];
  const controller = installationController(
    {
      api: kube,
      kubeVirts: kube.cache(KUBEVIRTS),
      version: "0.1.0",
      now: () => new Date("2026-01-02T03:04:05Z"),
      onFailure: (...failure) => failures.push(failure),
    },
    (resource) => kube.cache(resource),
  );
  const stop = new AbortController();
  const ran = controller.run(stop.signal);
  const until = (url: string | undefined) =>
    pollUntil(`it says ${url}`, { ms: 10_000, everyMs: 5 }, async () => {
      const config = await kube.get(configs, { name: "config" }).catch(() => undefined);
      return config !== undefined && config.status?.uploadProxyURL === url ? config : undefined;
    });
  const made = await until("https://up.example");
  // The CDI object's counts more than its own, and its own where that has none.
  await kube.update(configs, { ...made, spec: { uploadProxyURLOverride: "https://own" } });
  const { metadata } = await kube.get(CDIS, { name: "cdi" });
  await kube.update(CDIS, { ...cdi, metadata, spec: {} });
  const own = await until("https://own");
  await kube.update(configs, { ...own, spec: {} });
  await until(undefined);
  stop.abort();
  await ran;
  expect(failures).toEqual([]);
});
