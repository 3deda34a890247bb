import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { parse } from "yaml";
import { Report } from "./checks/report.ts";
import { KINDS, kindOfObject } from "./kinds.ts";
import { checkShape } from "./schema/check.ts";
import { crdOf } from "./schema/crd.ts";
import { crdName } from "./schema/kind.ts";
import { fullSample } from "./schema/sample.ts";

const CRDS = join(import.meta.dirname, "../../../deploy/crds");
const named = KINDS.map((kind) => [crdName(kind), kind] as const);

test("deploy/crds has one file a kind, a list of them and no other", async () => {
  const wanted = KINDS.map((kind) => `${crdName(kind)}.yaml`).sort();
  expect((await readdir(CRDS)).sort()).toEqual(["Kustomization", ...wanted]);
  const list = parse(await readFile(join(CRDS, "Kustomization"), "utf8")) as {
    resources: string[];
  };
  expect(list.resources).toEqual(wanted);
});

test.each(named)("the file of %s says what its schema says", async (name, kind) => {
  const text = await readFile(join(CRDS, `${name}.yaml`), "utf8");
  expect(parse(text)).toEqual(JSON.parse(JSON.stringify(crdOf(kind))));
});

test.each(named)("an object of %s with every field is taken", (_, kind) => {
  const report = new Report();
  checkShape(kind.schema.node, fullSample(kind.schema.node), "", report);
  expect(report.causes).toEqual([]);
});

test.each(named)("what is installed of %s is small enough for kubectl apply", (_, kind) => {
  // The annotation of the last applied configuration holds 256 KiB.
  expect(JSON.stringify(crdOf(kind)).length).toBeLessThan(256 * 1024);
});

test("kinds are found by group, version and name", () => {
  expect(kindOfObject("kubevirt.io/v1", "VirtualMachine")?.plural).toBe("virtualmachines");
  expect(kindOfObject("kubevirt.io/v1alpha3", "VirtualMachine")?.plural).toBe("virtualmachines");
  expect(kindOfObject("kubevirt.io/v2", "VirtualMachine")).toBeUndefined();
  expect(kindOfObject("v1", "Pod")).toBeUndefined();
});

test("no two kinds share a name that kubectl would look for", () => {
  const names = KINDS.flatMap((kind) => [kind.plural, kind.name.toLowerCase(), ...kind.shortNames]);
  const doubles = names.filter((name, index) => names.indexOf(name) !== index);
  // CDI's own kind has its own name as a short one, as there.
  expect(doubles).toEqual(["cdi", "cdis"]);
});
