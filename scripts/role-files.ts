import { stringify } from "yaml";
import { KINDS } from "../packages/kube-types/src/index.ts";

interface Rule {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly verbs: readonly string[];
}

const READ = ["get", "list", "watch"];
const WRITE = ["create", "update", "patch", "delete"];
const SUBRESOURCES = "subresources.kubevirt.io";

/** Kinds that only cluster administrators write; users see those that say what they may ask for. */
const OF_ADMINISTRATORS = ["kubevirts", "cdis", "cdiconfigs", "storageprofiles", "objecttransfers"];
/** Written by whoever may move machines (`kubevirt.io:migrate`), and by administrators. */
const OF_MIGRATION = ["virtualmachineinstancemigrations", "migrationpolicies"];

const VM = "virtualmachines";
const VMI = "virtualmachineinstances";
const of = (owner: string, ...names: readonly string[]): string[] =>
  names.map((name) => `${owner}/${name}`);

/** What tells about a machine, and what reaches into it. */
const LOOK = [
  ...of(VM, "expand-spec", "objectgraph"),
  ...of(VMI, "guestosinfo", "filesystemlist", "userlist", "objectgraph"),
  ...of(VMI, "sev/fetchcertchain", "sev/querylaunchmeasurement"),
];
const REACH = [
  ...of(VM, "portforward"),
  ...of(VMI, "console", "vnc", "vnc/screenshot", "portforward", "usbredir", "vsock"),
];
const ACT = [
  ...of(VM, "start", "stop", "restart", "addvolume", "removevolume", "memorydump"),
  ...of(VM, "removememorydump", "evacuate/cancel"),
  ...of(VMI, "pause", "unpause", "addvolume", "removevolume", "freeze", "unfreeze"),
  ...of(VMI, "softreboot", "reset", "sev/setupsession", "sev/injectlaunchsecret"),
  ...of(VMI, "evacuate/cancel", "backup", "redefine-checkpoint"),
];

/** deploy/control-plane/roles.yaml: what users may, as KubeVirt's and CDI's roles of these names do. */
export function roleFiles(): Readonly<Record<string, string>> {
  const head = "# Written by scripts/docs.ts from the kinds of packages/kube-types; do not edit.\n";
  const text = roles().map((object) => stringify(object, { lineWidth: 0 }));
  return { "deploy/control-plane/roles.yaml": head + text.join("---\n") };
}

function roles(): object[] {
  const own = kinds((plural) => ![...OF_ADMINISTRATORS, ...OF_MIGRATION].includes(plural));
  const moved = kinds((plural) => OF_MIGRATION.includes(plural));
  const seen = [rule("cdi.kubevirt.io", ["cdiconfigs", "storageprofiles"], READ)];
  const look = [
    rule(SUBRESOURCES, LOOK, ["get"]),
    rule(SUBRESOURCES, ["expand-vm-spec"], ["update"]),
    rule("kubevirt.io", ["kubevirts"], ["get", "list"]),
    ...rules(moved, READ),
    ...seen,
  ];
  const act = [
    ...look,
    rule(SUBRESOURCES, REACH, ["get"]),
    rule(SUBRESOURCES, ACT, ["update"]),
    rule("upload.cdi.kubevirt.io", ["uploadtokenrequests"], ["create"]),
    // Whoever may, may clone a volume into another namespace (CDI's `datavolumes/source`).
    rule("cdi.kubevirt.io", ["datavolumes/source"], ["create"]),
  ];
  const migration = ["virtualmachineinstancemigrations"];
  return [
    role("kubevirt.io:view", "view", [...look, ...rules(own, READ)]),
    role("kubevirt.io:edit", "edit", [...act, ...rules(own, [...READ, ...WRITE])]),
    role("kubevirt.io:admin", "admin", [
      ...act,
      ...rules(own, [...READ, ...WRITE, "deletecollection"]),
    ]),
    role("kubevirt.io:migrate", undefined, [
      rule(SUBRESOURCES, of(VM, "migrate"), ["update"]),
      rule("kubevirt.io", migration, [...READ, ...WRITE, "deletecollection"]),
    ]),
    ...forAll("kubevirt.io:default", [
      rule("kubevirt.io", ["kubevirts"], ["get", "list"]),
      rule(SUBRESOURCES, ["version", "guestfs"], ["get", "list"]),
    ]),
    ...forAll("instancetype.kubevirt.io:view", [
      rule(
        "instancetype.kubevirt.io",
        ["virtualmachineclusterinstancetypes", "virtualmachineclusterpreferences"],
        READ,
      ),
    ]),
    ...forAll("cdi.kubevirt.io:config-reader", seen),
  ];
}

type ByGroup = ReadonlyMap<string, readonly string[]>;

function kinds(isWanted: (plural: string) => boolean): ByGroup {
  const byGroup = new Map<string, string[]>();
  for (const { group, plural } of KINDS) {
    if (isWanted(plural)) byGroup.set(group, [...(byGroup.get(group) ?? []), plural]);
  }
  return new Map([...byGroup].sort(([a], [b]) => (a < b ? -1 : 1)));
}

function rules(byGroup: ByGroup, verbs: readonly string[]): Rule[] {
  return [...byGroup].map(([group, plurals]) => rule(group, [...plurals].sort(), verbs));
}

function rule(group: string, resources: readonly string[], verbs: readonly string[]): Rule {
  return { apiGroups: [group], resources: withHeads(resources), verbs: [...verbs] };
}

/** The API server in front knows subresources of one part only: it asks for `evacuate` before we ask for `evacuate/cancel`. */
function withHeads(resources: readonly string[]): string[] {
  const heads = resources
    .map((name) => name.split("/"))
    .filter(({ length }) => length > 2)
    .map(([owner, head]) => `${owner ?? ""}/${head ?? ""}`);
  return [...new Set([...resources, ...heads])];
}

function copied({ apiGroups, resources, verbs }: Rule): Rule {
  return { apiGroups: [...apiGroups], resources: [...resources], verbs: [...verbs] };
}

/** Rules are copied, for those that roles have in common would become anchors. */
function role(name: string, aggregatedTo: string | undefined, granted: readonly Rule[]): object {
  const labels = {
    "kubevirt.io": "",
    ...(aggregatedTo !== undefined && {
      [`rbac.authorization.k8s.io/aggregate-to-${aggregatedTo}`]: "true",
    }),
  };
  const kind = { apiVersion: "rbac.authorization.k8s.io/v1", kind: "ClusterRole" };
  return { ...kind, metadata: { name, labels }, rules: granted.map(copied) };
}

/** A role that everybody has whom the cluster knows. */
function forAll(name: string, granted: readonly Rule[]): object[] {
  const group = "rbac.authorization.k8s.io";
  return [
    role(name, undefined, granted),
    {
      apiVersion: `${group}/v1`,
      kind: "ClusterRoleBinding",
      metadata: { name },
      roleRef: { apiGroup: group, kind: "ClusterRole", name },
      subjects: [{ apiGroup: group, kind: "Group", name: "system:authenticated" }],
    },
  ];
}
