import { expect, test } from "vitest";
import { parseAllDocuments } from "yaml";
import { KINDS } from "../packages/kube-types/src/index.ts";
import { ROWS } from "../packages/virt-api/src/subresources/table.ts";
import { roleFiles } from "./role-files.ts";

interface Role {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly labels?: Record<string, string> };
  readonly rules: readonly { apiGroups: string[]; resources: string[]; verbs: string[] }[];
}

const [text = ""] = Object.values(roleFiles());
const objects = parseAllDocuments(text).map((document) => document.toJS() as Role);
const roles = new Map(
  objects.filter(({ kind }) => kind === "ClusterRole").map((role) => [role.metadata.name, role]),
);

/** `VERB GROUP/RESOURCE`, all of them. */
function rights(name: string): ReadonlySet<string> {
  return new Set(
    (roles.get(name)?.rules ?? []).flatMap(({ apiGroups, resources, verbs }) =>
      apiGroups.flatMap((group) =>
        resources.flatMap((resource) => verbs.map((verb) => `${verb} ${group}/${resource}`)),
      ),
    ),
  );
}

const SUB = "subresources.kubevirt.io";

test("each subresource that is served is somebody's to use, by the verb it is asked for", () => {
  const admin = rights("kubevirt.io:admin");
  const migrate = rights("kubevirt.io:migrate");
  const missing = ROWS.map(({ of, name, method }) => {
    return `${method === "GET" ? "get" : "update"} ${SUB}/${of}/${name}`;
  }).filter((right) => !admin.has(right) && !migrate.has(right));
  expect(missing).toEqual([]);
  for (const stream of ["console", "vnc", "portforward"]) {
    expect(admin).toContain(`get ${SUB}/virtualmachineinstances/${stream}`);
  }
});

test("each kind of a namespace may be read by viewers and written by administrators", () => {
  const [view, edit, admin] = ["view", "edit", "admin"].map((end) => rights(`kubevirt.io:${end}`));
  const apart = ["kubevirts", "virtualmachineinstancemigrations"];
  const own = KINDS.filter(
    ({ scope, plural }) => scope === "Namespaced" && !apart.includes(plural),
  );
  expect(own.length).toBeGreaterThan(15);
  for (const { group, plural } of own) {
    const at = `${group}/${plural}`;
    for (const verb of ["get", "list", "watch"]) expect(view).toContain(`${verb} ${at}`);
    for (const verb of ["create", "update", "patch", "delete"]) {
      expect(edit).toContain(`${verb} ${at}`);
      expect(view).not.toContain(`${verb} ${at}`);
    }
    expect(admin).toContain(`deletecollection ${at}`);
    expect(edit).not.toContain(`deletecollection ${at}`);
  }
});

test("who only looks reaches into no machine, and nobody but who may migrate moves one", () => {
  const view = rights("kubevirt.io:view");
  for (const name of ["console", "vnc", "vnc/screenshot", "portforward", "usbredir"]) {
    expect(view).not.toContain(`get ${SUB}/virtualmachineinstances/${name}`);
  }
  expect([...view].filter((right) => right.startsWith(`update ${SUB}`))).toEqual([
    `update ${SUB}/expand-vm-spec`,
  ]);
  const moves = `update ${SUB}/virtualmachines/migrate`;
  for (const end of ["view", "edit", "admin"]) {
    expect(rights(`kubevirt.io:${end}`)).not.toContain(moves);
  }
  expect(rights("kubevirt.io:migrate")).toContain(moves);
});

test("nothing is granted by a wildcard, and roles go to the roles of the same name", () => {
  expect(text).not.toContain("*");
  for (const end of ["view", "edit", "admin"]) {
    expect(roles.get(`kubevirt.io:${end}`)?.metadata.labels).toEqual({
      "kubevirt.io": "",
      [`rbac.authorization.k8s.io/aggregate-to-${end}`]: "true",
    });
  }
});
