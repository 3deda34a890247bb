// The CRDs of packages/kube-types on the real API server: they install, lose nothing, and refuse what our checks refuse.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { messageOf, pollUntil } from "@trine/base";
import { KINDS, type Kind, Report, checkShape, crdName, fullSample } from "@trine/kube-types";
import { KubeControlPlane, kubeBinaries } from "@trine/testkit";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { KubeRest } from "./kube-rest.ts";

/** The API server refuses what it would drop. */
const STRICT = "fieldValidation=Strict";
const CRDS = join(import.meta.dirname, "../deploy/crds");

type Object = Readonly<Record<string, unknown>>;

describe("custom resources", () => {
  let dir: string;
  let plane: KubeControlPlane;
  let rest: KubeRest;

  beforeAll(async () => {
    const binaries = await kubeBinaries();
    dir = await mkdtemp(join(tmpdir(), "trine-crds-"));
    plane = await KubeControlPlane.start({ dir, binaries, address: "127.0.0.1", apiOnly: true });
    rest = await KubeRest.connect(plane);
    await plane.kubectl.run("apply", "--server-side", "-f", CRDS);
    const crds = KINDS.map((kind) => `crd/${crdName(kind)}`);
    await plane.kubectl.run("wait", "--for=condition=Established", "--timeout=60s", ...crds);
  }, 3_600_000);

  afterAll(async () => {
    rest.close();
    await plane.stop();
    await rm(dir, { recursive: true, force: true });
  });

  const named = KINDS.map((kind) => [crdName(kind), kind] as const);

  test.each(named)("%s keeps every field", async (_, kind) => {
    const [{ name: version }] = kind.versions;
    const sample = sampleOf(kind, version);
    const created = await rest.call("POST", `${pathOf(kind, version)}?${STRICT}`, sample);
    expect(created.code).toBe(201);
    const stored = kind.status
      ? await putStatus(kind, version, sample, created.body)
      : created.body;
    expect(withoutMetadata(stored)).toEqual(withoutMetadata(sample));

    for (const { name, deprecated = false } of kind.versions) {
      const read = await rest.call("GET", `${pathOf(kind, name)}/full`);
      expect(withoutMetadata(read.body)).toEqual(
        withoutMetadata({ ...sample, apiVersion: `${kind.group}/${name}` }),
      );
      expect(read.warnings.length).toBe(deprecated ? 1 : 0);
    }
  });

  test.each([
    ["vm", "A machine that is there whether it runs or not"],
    ["vm.spec.template.spec.domain.devices.disks.bootOrder", "1 boots first."],
    ["vmpool.spec.virtualMachineTemplate.spec.runStrategy", "When the machine runs"],
    ["datavolume.spec.source", "blank\t<Object>\n    An empty disk."],
  ])("kubectl explains %s", async (what, says) => {
    // kubectl goes by the list of all kinds, which is made a moment after a kind is established.
    const text = await pollUntil("kubectl knows it", { ms: 60_000, everyMs: 500 }, () =>
      plane.kubectl.run("explain", what).catch((cause: unknown) => {
        if (messageOf(cause).includes("doesn't have a resource type")) return undefined;
        throw cause;
      }),
    );
    expect(text).toContain(says);
  });

  async function putStatus(
    kind: Kind,
    version: string,
    sample: Object,
    created: Object,
  ): Promise<Object> {
    const path = `${pathOf(kind, version)}/full/status`;
    const put = await rest.call("PUT", path, { ...sample, metadata: created["metadata"] });
    expect(put.code).toBe(200);
    return put.body;
  }

  test.each(named)("%s is found by its names and shown in its columns", async (_, kind) => {
    const [{ name: version }] = kind.versions;
    const found = await rest.call("GET", `/apis/${kind.group}/${version}`);
    const resources = found.body["resources"] as { name: string }[];
    const own = resources.filter(({ name }) => name.split("/")[0] === kind.plural);
    const subresources = own.map(({ name }) => name.split("/")[1] ?? "").sort();
    const wanted = ["", ...(kind.scale ? ["scale"] : []), ...(kind.status ? ["status"] : [])];
    expect(subresources).toEqual(wanted);
    expect(own.find(({ name }) => name === kind.plural)).toMatchObject({
      kind: kind.name,
      singularName: kind.name.toLowerCase(),
      namespaced: kind.scope === "Namespaced",
      ...(kind.shortNames.length > 0 && { shortNames: kind.shortNames }),
      ...(kind.inAll && { categories: ["all"] }),
    });

    const asTable = "application/json;as=Table;v=v1;g=meta.k8s.io";
    const table = await rest.call("GET", pathOf(kind, version), undefined, asTable);
    const columns = table.body["columnDefinitions"] as { name: string }[];
    const own_ = kind.columns.length > 0 ? kind.columns.map(({ name }) => name) : ["Age"];
    expect(columns.map(({ name }) => name)).toEqual(["Name", ...own_]);
  });

  test("kubectl finds machines by the short name", async () => {
    const shown = await plane.kubectl.run("get", "vms", "--no-headers");
    expect(shown).toMatch(/^full /);
  });

  /** Objects that are no VirtualMachine, and why. */
  const FAULTS: readonly (readonly [string, Object])[] = [
    ["a needed field is missing", { spec: { running: true } }],
    ["a text for a switch", { spec: { running: "yes", template: {} } }],
    ["a number for a text", { spec: { runStrategy: 1, template: {} } }],
    ["a list for an object", { spec: { template: [] } }],
    ["null for a text and for a needed object", { spec: { runStrategy: null, template: null } }],
    ["a broken quantity", machineWith({ memory: { guest: "1Gx" }, devices: {} })],
    [
      "a broken quantity by name",
      machineWith({ resources: { requests: { cpu: "x" } }, devices: {} }),
    ],
    ["a fraction of a core", machineWith({ cpu: { cores: 1.5 }, devices: {} })],
    ["a disk without name", machineWith({ devices: { disks: [{}, { name: "b" }] } })],
    ["too many disks", machineWith({ devices: { disks: Array(300).fill({ name: "x" }) } })],
  ];

  test.each(FAULTS)("is refused as our own check refuses it: %s", async (_, fault) => {
    const kind = KINDS.find(({ name }) => name === "VirtualMachine");
    if (kind === undefined) throw new Error("no VirtualMachine among the kinds");
    const object = { ...fault, apiVersion: "kubevirt.io/v1", kind: "VirtualMachine" };
    const report = new Report();
    checkShape(kind.schema.node, object, "", report);
    const answer = await rest.call("POST", pathOf(kind, "v1"), {
      ...object,
      metadata: { name: "faulty" },
    });
    expect(answer).toMatchObject({ code: 422, body: { reason: "Invalid" } });
    const { causes } = answer.body["details"] as { causes: { field: string; reason: string }[] };
    const told = causes.filter(({ field }) => field !== "<nil>");
    expect(report.causes.map(({ field, reason }) => [field, reason])).toEqual(
      told.map(({ field, reason }) => [field, reason]),
    );
  });
});

function machineWith(domain: Object): Object {
  return { spec: { runStrategy: "Halted", template: { spec: { domain } } } };
}

function sampleOf(kind: Kind, version: string): Object {
  const filled = fullSample(kind.schema.node) as Object;
  return {
    ...filled,
    apiVersion: `${kind.group}/${version}`,
    kind: kind.name,
    metadata: { name: "full" },
  };
}

function withoutMetadata(object: Object): Object {
  return { ...object, metadata: undefined };
}

function pathOf({ group, plural, scope }: Kind, version: string): string {
  const where = scope === "Namespaced" ? "/namespaces/default" : "";
  return `/apis/${group}/${version}${where}/${plural}`;
}
