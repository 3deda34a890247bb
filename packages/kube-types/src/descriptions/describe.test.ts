import { expect, test } from "vitest";
import { KINDS } from "../kinds.ts";
import { crdOf } from "../schema/crd.ts";
import { nodeAt } from "./describe.ts";
import { KIND_TEXTS } from "./kinds.ts";
import { FIELD_TEXTS } from "./texts.ts";

test("every kind is described, and no other", () => {
  expect(Object.keys(KIND_TEXTS).toSorted()).toEqual(KINDS.map(({ name }) => name).toSorted());
});

test.each(FIELD_TEXTS)("$kind $path: every field has its sentence", ({ kind, path, texts }) => {
  const found = KINDS.find(({ name }) => name === kind);
  if (found === undefined) throw new Error(`there is no kind ${kind}`);
  const node = nodeAt(found.schema.node, path);
  const fields = node.kind === "object" ? Object.keys(node.fields) : [];
  expect(Object.keys(texts).toSorted()).toEqual(fields.toSorted());
});

test("sentences are sentences", () => {
  const all = [KIND_TEXTS, ...FIELD_TEXTS.map(({ texts }) => texts)].flatMap((texts) =>
    Object.values(texts),
  );
  for (const text of all) expect(text).toMatch(/^[A-Za-z1-9][^\n]{3,160}\.$/);
});

interface Explained {
  readonly description?: string;
  readonly properties?: Readonly<Record<string, Explained>>;
  readonly items?: Explained;
}

/** The sentence that `kubectl explain` shows at a path. */
function explained(kind: string, path: string): string | undefined {
  const found = KINDS.find(({ name }) => name === kind);
  if (found === undefined) throw new Error(`there is no kind ${kind}`);
  const { spec } = crdOf(found) as unknown as {
    spec: { versions: { schema: { openAPIV3Schema: Explained } }[] };
  };
  let at = spec.versions[0]?.schema.openAPIV3Schema;
  for (const name of path.split(".").filter(Boolean)) {
    at = (at?.items ?? at)?.properties?.[name];
  }
  return at?.description;
}

test.each([
  ["VirtualMachineInstance", "", KIND_TEXTS["VirtualMachineInstance"]],
  ["StorageProfile", "spec", "What is wanted."],
  ["VirtualMachine", "spec.template.spec.domain.devices.disks.errorPolicy", /^What becomes of a/],
  ["VirtualMachinePool", "spec.virtualMachineTemplate.spec.runStrategy", /^When the machine runs/],
  ["VirtualMachineInstanceReplicaSet", "spec.template.spec.volumes.emptyDisk", /^An empty disk/],
  ["VirtualMachineClusterInstancetype", "spec.cpu", "Virtual processors."],
  ["VirtualMachineInstance", "spec.domain.devices.tpm.persistent", undefined],
])("%s %s is explained wherever it stands", (kind, path, says) => {
  const found = explained(kind, path);
  if (says instanceof RegExp) expect(found).toMatch(says);
  else expect(found).toBe(says);
});
