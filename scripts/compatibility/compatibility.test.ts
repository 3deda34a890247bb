// What docs/compatibility.md says of KubeVirt is so: tests exist, every field has its place, and what is inert is what the program goes by.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { INERT_FIELDS, inertFields } from "@trine/controllers";
import { INERT_KINDS, KINDS, fullSample } from "@trine/kube-types";
import { VirtctlClient, VirtctlObjects, VirtctlUpload } from "@trine/testkit";
import { expect, test } from "vitest";
import { ABSENT_KINDS, FOLLOWED, fieldsOf, groupOf, isWithin } from "./kinds.ts";
import { allProofs, stateOfGroup, withKubeVirt } from "./render.ts";
import { SUBRESOURCES } from "./subresources.ts";
import { testTitles } from "./test-titles.ts";
import { VIRTCTL } from "./virtctl.ts";
import { LISTED } from "../../packages/virt-api/src/discovery/documents.ts";
import { HOOKS } from "../../packages/virt-api/src/admission/hooks.ts";
import { testDeps } from "../../packages/virt-api/src/testing/test-deps.ts";
import * as notHere from "../../packages/virt-api/src/subresources/not-here.ts";
import { ROWS } from "../../packages/virt-api/src/subresources/table.ts";

const ROOT = join(import.meta.dirname, "../..");

test("every test that is named exists", async () => {
  const files = [...new Set(allProofs().map(([file]) => file))];
  const texts = await Promise.all(files.map((file) => readFile(join(ROOT, file), "utf8")));
  const titles = new Map(files.map((file, index) => [file, testTitles(file, texts[index] ?? "")]));
  const missing = allProofs().filter(([file, title]) => titles.get(file)?.has(title) !== true);
  expect(missing).toEqual([]);
  expect(allProofs().length).toBeGreaterThan(60);
});

test("titles are those of tests that run", () => {
  const text = `test("a", () => 1); test.each([1])("b %s", () => 1); test.skip("c", () => 1);
    test.todo("d"); describe("e", () => { test.each<T>([])("f", g); }); call("h"); test.each(["i"]);`;
  expect([...testTitles("x.ts", text)]).toEqual(["a", "b %s", "f"]);
});

test("every kind has its place, once", () => {
  const placed = [FOLLOWED, INERT_KINDS].flatMap((each) => Object.keys(each));
  expect(placed.toSorted()).toEqual(KINDS.map(({ name }) => name).toSorted());
  for (const name of Object.keys(ABSENT_KINDS)) expect(placed).not.toContain(name);
});

test.each(Object.keys(FOLLOWED))(
  "every field of %s is in a group, and groups name no others",
  (kind) => {
    const groups = FOLLOWED[kind] ?? [];
    const fields = fieldsOf(kind);
    expect(fields.filter((field) => groupOf(groups, field) === undefined)).toEqual([]);
    const paths = groups.flatMap((each) => each.fields);
    expect(paths.filter((path) => !fields.some((field) => isWithin(field.path, path)))).toEqual([]);
    expect(new Set(paths).size).toBe(paths.length);
  },
);

/** Where nothing follows a field, no test can show that it works; where something does, one has to. */
test.each(Object.keys(FOLLOWED))(
  "what works of %s is shown by tests, and nothing else is",
  (kind) => {
    const groups = FOLLOWED[kind] ?? [];
    const wrong = groups.filter(
      (each) => (stateOfGroup(kind, groups, each) === "works") !== each.proofs.length > 0,
    );
    expect(wrong.map(({ title }) => title)).toEqual([]);
  },
);

test("what an instance is told to be inert is a field of it", () => {
  const fields = fieldsOf("VirtualMachineInstance");
  const unknown = INERT_FIELDS.filter(
    ({ path }) => !fields.some((field) => isWithin(field.path, `spec.${path}`)),
  );
  expect(unknown).toEqual([]);
  const credential = {
    sshPublicKey: { source: { secret: { secretName: "k" } }, propagationMethod: { noCloud: {} } },
  };
  const spec = { domain: { devices: {} }, accessCredentials: [credential] } as never;
  expect(inertFields(spec).map(({ field }) => field)).toEqual([
    "spec.accessCredentials[0].sshPublicKey",
  ]);
});

test.each(KINDS.map(({ name }) => name))(
  "%s: its webhook warns of it if it is inert",
  async (name) => {
    const kind = KINDS.find((each) => each.name === name);
    const hook = HOOKS.find(
      ({ type, resources, operations }) =>
        type === "validating" &&
        operations.includes("CREATE") &&
        resources.includes(kind?.plural ?? ""),
    );
    const isInert = Object.hasOwn(INERT_KINDS, name);
    expect(hook !== undefined || !isInert).toBe(true);
    if (kind === undefined || hook === undefined) return;
    const [{ name: version }] = kind.versions;
    const resource = { group: kind.group, version, resource: kind.plural };
    const sample = fullSample(kind.schema.node) as Readonly<Record<string, unknown>>;
    const verdict = await hook.admit(
      await testDeps(),
      {
        ...{ uid: "1", kind: { ...resource, kind: name }, resource, subResource: "", name: "n" },
        ...{ namespace: "default", operation: "CREATE", userInfo: { username: "u", groups: [] } },
        object: { ...sample, apiVersion: `${kind.group}/${version}`, kind: name },
      },
      AbortSignal.timeout(10_000),
    );
    const warnings = verdict.allowed ? (verdict.warnings ?? []) : [];
    expect(warnings.some((each) => each.includes("nothing acts on it"))).toBe(isInert);
  },
);

test("subresources are those that are served, and refused ones those that the server refuses", () => {
  const named = SUBRESOURCES.flatMap(({ names }) => names);
  expect(named.toSorted()).toEqual(LISTED.map(({ name }) => name).toSorted());
  const refuses = new Set<unknown>(Object.values(notHere));
  for (const { of, name, handle } of ROWS) {
    const row = SUBRESOURCES.find(({ names }) => names.includes(`${of}/${name}`));
    expect([name, row?.state]).toEqual([name, refuses.has(handle) ? "refused" : "works"]);
  }
});

test("each request of virtctl that can be replayed is spoken of", () => {
  const own = [VirtctlClient, VirtctlObjects, VirtctlUpload].flatMap(({ prototype }) =>
    Object.getOwnPropertyNames(prototype),
  );
  const sends = own.filter((name) => !["constructor", "close", "send"].includes(name));
  expect(VIRTCTL.flatMap(({ sentBy }) => sentBy).toSorted()).toEqual(sends.toSorted());
  for (const { command, state, proofs, sentBy } of VIRTCTL) {
    const isShown = state === "works" || state === "refused";
    expect([command, proofs.length > 0, sentBy.length > 0]).toEqual([command, isShown, isShown]);
  }
});

test("the page is made between its marks, again and again the same", () => {
  const once = withKubeVirt("a\n<!-- kubevirt:begin -->\nold\n<!-- kubevirt:end -->\nb\n");
  expect(once.includes("\nold\n")).toBe(false);
  expect(once).toContain("| VirtualMachinePool (pool.kubevirt.io, v1beta1, v1alpha1) | inert |");
  expect(withKubeVirt(once)).toBe(once);
  expect(() => withKubeVirt("no marks")).toThrow("lacks");
});
