import { DATA_VOLUME, KINDS } from "@trine/kube-types";
import { judgeEviction } from "./eviction.ts";
import type { Admit, Hook } from "./hook.ts";
import { defaultTheInstance, judgeChangedInstance, judgeNewInstance } from "./instance.ts";
import { defaultTheMachine, judgeMachine } from "./machine.ts";
import { judgeChangedMigration, judgeMigration } from "./migration.ts";
import { IMMUTABLE, IMMUTABLE_VOLUME, judgeObject, judgeOnce, judgeWish } from "./others.ts";

const KUBEVIRT = {
  group: "kubevirt.io",
  version: "v1",
  whenAway: "Fail",
  sideEffects: "None",
} as const;
const BOTH = ["CREATE", "UPDATE"] as const;
const INSTANCES = ["virtualmachineinstances"];
const MIGRATIONS = ["virtualmachineinstancemigrations"];

/** A validating hook of a kind, under the name that KubeVirt has for it. */
function judge(plural: string, name: string, admit: Admit): Hook {
  const kind = KINDS.find((each) => each.plural === plural);
  if (kind === undefined) throw new Error(`${plural} is no kind`);
  const { group, versions } = kind;
  return {
    ...KUBEVIRT,
    name: `${name}.${group}`,
    path: `/${plural}-validate`,
    type: "validating",
    group,
    version: versions[0].name,
    resources: [plural],
    operations: BOTH,
    admit,
  };
}

/** All webhooks; names as in KubeVirt, so that what they refuse reads the same. */
export const HOOKS: readonly Hook[] = [
  {
    ...KUBEVIRT,
    name: "virtualmachines-mutator.kubevirt.io",
    path: "/virtualmachines-mutate",
    type: "mutating",
    resources: ["virtualmachines"],
    operations: BOTH,
    admit: defaultTheMachine,
  },
  {
    ...KUBEVIRT,
    name: "virtualmachineinstances-mutator.kubevirt.io",
    path: "/virtualmachineinstances-mutate",
    type: "mutating",
    resources: INSTANCES,
    operations: BOTH,
    admit: defaultTheInstance,
  },
  {
    ...KUBEVIRT,
    name: "virtualmachineinstances-create-validator.kubevirt.io",
    path: "/virtualmachineinstances-validate-create",
    type: "validating",
    resources: INSTANCES,
    operations: ["CREATE"],
    admit: judgeNewInstance,
  },
  {
    ...KUBEVIRT,
    name: "virtualmachineinstances-update-validator.kubevirt.io",
    path: "/virtualmachineinstances-validate-update",
    type: "validating",
    resources: INSTANCES,
    operations: ["UPDATE"],
    admit: judgeChangedInstance,
  },
  judge("virtualmachines", "virtualmachine-validator", judgeMachine),
  judge("virtualmachineinstancereplicasets", "virtualmachinereplicaset-validator", judgeObject),
  judge("virtualmachineinstancepresets", "virtualmachinepreset-validator", judgeObject),
  judge("virtualmachinepools", "virtualmachinepool-validator", judgeWish),
  {
    ...KUBEVIRT,
    name: "migration-create-validator.kubevirt.io",
    path: "/migration-validate-create",
    type: "validating",
    resources: MIGRATIONS,
    operations: ["CREATE"],
    admit: judgeMigration,
  },
  {
    ...KUBEVIRT,
    name: "migration-update-validator.kubevirt.io",
    path: "/migration-validate-update",
    type: "validating",
    resources: MIGRATIONS,
    operations: ["UPDATE"],
    admit: judgeChangedMigration,
  },
  judge(
    "virtualmachinesnapshots",
    "virtualmachinesnapshot-validator",
    judgeOnce(judgeWish, IMMUTABLE),
  ),
  judge(
    "virtualmachinerestores",
    "virtualmachinerestore-validator",
    judgeOnce(judgeWish, IMMUTABLE),
  ),
  judge("virtualmachineexports", "virtualmachineexport-validator", judgeOnce(judgeWish, IMMUTABLE)),
  judge("virtualmachinebackups", "virtualmachinebackup-validator", judgeWish),
  judge("virtualmachinebackuptrackers", "virtualmachinebackuptracker-validator", judgeWish),
  judge("virtualmachineclones", "vm-clone-validator", judgeWish),
  judge("migrationpolicies", "migration-policy-validator", judgeWish),
  judge("virtualmachineinstancetypes", "virtualmachineinstancetype-validator", judgeObject),
  judge(
    "virtualmachineclusterinstancetypes",
    "virtualmachineclusterinstancetype-validator",
    judgeObject,
  ),
  judge("virtualmachinepreferences", "virtualmachinepreference-validator", judgeObject),
  judge(
    "virtualmachineclusterpreferences",
    "virtualmachineclusterpreference-validator",
    judgeObject,
  ),
  judge(DATA_VOLUME.plural, "datavolume-validate", judgeOnce(judgeObject, IMMUTABLE_VOLUME)),
  {
    name: "virt-launcher-eviction-interceptor.kubevirt.io",
    path: "/pod-eviction-validate",
    type: "validating",
    group: "",
    version: "v1",
    resources: ["pods/eviction"],
    operations: ["CREATE"],
    // A node must be drained while we are away; the pod's own disruption budget stands behind this.
    whenAway: "Ignore",
    sideEffects: "NoneOnDryRun",
    admit: judgeEviction,
  },
];
