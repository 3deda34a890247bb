import { INERT_KINDS, KINDS } from "@trine/kube-types";
import type { FieldGroup } from "./field-group.ts";
import { INSTANCETYPE, PREFERENCE } from "./given-fields.ts";
import { INSTANCE_SPEC } from "./instance-spec.ts";
import {
  INSTANCE_STATUS,
  KUBEVIRT_SETTINGS,
  MACHINE,
  MIGRATION,
  REPLICA_SET,
} from "./machine-fields.ts";
import {
  CDI_FIELDS,
  CONFIG_FIELDS,
  DATA_SOURCE_FIELDS,
  DATA_VOLUME_FIELDS,
  PROFILE_FIELDS,
} from "./volume-fields.ts";
import type { State } from "./proof.ts";

/** Kinds that something acts on, with all of their fields. */
export const FOLLOWED: Readonly<Record<string, readonly FieldGroup[]>> = {
  VirtualMachine: MACHINE,
  VirtualMachineInstance: [...INSTANCE_SPEC, ...INSTANCE_STATUS],
  VirtualMachineInstanceReplicaSet: REPLICA_SET,
  VirtualMachineInstanceMigration: MIGRATION,
  KubeVirt: KUBEVIRT_SETTINGS,
  VirtualMachineInstancetype: INSTANCETYPE,
  VirtualMachineClusterInstancetype: INSTANCETYPE,
  VirtualMachinePreference: PREFERENCE,
  VirtualMachineClusterPreference: PREFERENCE,
  DataVolume: DATA_VOLUME_FIELDS,
  DataSource: DATA_SOURCE_FIELDS,
  StorageProfile: PROFILE_FIELDS,
  CDIConfig: CONFIG_FIELDS,
  CDI: CDI_FIELDS,
};

/** Kinds of KubeVirt's and CDI's that are not served. */
export const ABSENT_KINDS: Readonly<Record<string, string>> = {
  Plugin: "plugin.kubevirt.io (alpha)",
  VirtualMachineTemplate: "template.kubevirt.io",
  VirtualMachineTemplateRequest: "template.kubevirt.io",
};

/** What becomes of a whole kind. */
export function stateOfKind(name: string): { readonly state: State; readonly why: string } {
  if (Object.hasOwn(ABSENT_KINDS, name))
    return { state: "refused", why: "the API server knows no such kind" };
  const inert = INERT_KINDS[name];
  if (inert !== undefined) return { state: "inert", why: inert };
  const groups = FOLLOWED[name] ?? [];
  const works = groups.some(({ proofs }) => proofs.length > 0);
  const refusal = groups.find(({ refused }) => refused !== undefined)?.refused;
  if (works) return { state: "works", why: "" };
  return refusal === undefined ? { state: "inert", why: "" } : { state: "refused", why: refusal };
}

type Node = (typeof KINDS)[number]["schema"]["node"];

/** A value below an object, `[]` in its path for the items of lists. */
export interface Field {
  readonly path: string;
  readonly isSwitch: boolean;
}

const FIELDS = new Map<string, readonly Field[]>();

/** All values below an object of a kind. */
export function fieldsOf(kindName: string): readonly Field[] {
  const found = FIELDS.get(kindName);
  if (found !== undefined) return found;
  const kind = KINDS.find(({ name }) => name === kindName);
  if (kind === undefined) throw new Error(`${kindName} is no kind`);
  const all = leaves(kind.schema.node, "");
  const own = all.filter(({ path }) => !/^(apiVersion|kind|metadata)(\.|$)/.test(path));
  FIELDS.set(kindName, own);
  return own;
}

function leaves(node: Node, path: string): Field[] {
  if (node.kind === "list" && node.item.kind === "object") return leaves(node.item, `${path}[]`);
  if (node.kind !== "object") return [{ path, isSwitch: node.kind === "boolean" }];
  const fields = Object.entries(node.fields);
  if (fields.length === 0) return [{ path, isSwitch: false }];
  return fields.flatMap(([name, field]) => leaves(field, path === "" ? name : `${path}.${name}`));
}

/** The group of a field: whose path is the longest that the field is in. */
export function groupOf(
  groups: readonly FieldGroup[],
  { path: field }: Field,
): FieldGroup | undefined {
  let [found, length]: [FieldGroup | undefined, number] = [undefined, 0];
  for (const each of groups) {
    for (const path of each.fields) {
      if (path.length > length && isWithin(field, path)) [found, length] = [each, path.length];
    }
  }
  return found;
}

/** The fields of a group. */
export function membersOf(
  kind: string,
  groups: readonly FieldGroup[],
  of: FieldGroup,
): readonly Field[] {
  let byGroup = MEMBERS.get(groups);
  if (byGroup === undefined) {
    byGroup = Map.groupBy(fieldsOf(kind), (field) => groupOf(groups, field));
    MEMBERS.set(groups, byGroup);
  }
  return byGroup.get(of) ?? [];
}

const MEMBERS = new WeakMap<
  readonly FieldGroup[],
  ReadonlyMap<FieldGroup | undefined, readonly Field[]>
>();

export function isWithin(field: string, path: string): boolean {
  if (!field.startsWith(path)) return false;
  const next = field[path.length];
  return next === undefined || next === "." || next === "[";
}
