import { DATA_VOLUME, INERT_KINDS, KINDS } from "@trine/kube-types";
import { grantItsCopy } from "./data-volume.ts";
import { judgeEviction } from "./eviction.ts";
import type { Admit, Hook } from "./hook.ts";
import { defaultTheInstance, judgeNewInstance } from "./instance.ts";
import { defaultTheMachine, judgeMachine } from "./machine.ts";
import { judgeMigration } from "./migration.ts";
import { allow, judgeChanged, judgeObject, judgeWish } from "./others.ts";

const KUBEVIRT = {
  group: "kubevirt.io",
  version: "v1",
  whenAway: "Fail",
  sideEffects: "None",
} as const;
const BOTH = ["CREATE", "UPDATE"] as const;
const INSTANCES = ["virtualmachineinstances"];
const MIGRATIONS = ["virtualmachineinstancemigrations"];

/** A validating hook of a kind, under the name that KubeVirt has for it; left to itself it judges as its kind is. */
function judge(plural: string, name: string, own?: Admit): Hook {
  const kind = KINDS.find((each) => each.plural === plural);
  if (kind === undefined) throw new Error(`${plural} is no kind`);
  const { group, versions } = kind;
  const admit = own ?? (Object.hasOwn(INERT_KINDS, kind.name) ? judgeWish : judgeObject);
  return {
    ...KUBEVIRT,
    name: `${name}.${group}`,
    path: `/${plural}-validate`,
    type: "validating",
    group,
    version: versions[0].name,
    resources: [plural],
    operations: BOTH,
    admit: judgeChanged(admit),
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
    isSparingControl: true,
    admit: defaultTheInstance,
  },
  {
    name: "datavolume-mutate.cdi.kubevirt.io",
    path: "/datavolumes-mutate",
    type: "mutating",
    group: DATA_VOLUME.group,
    version: DATA_VOLUME.versions[0].name,
    resources: [DATA_VOLUME.plural],
    operations: BOTH,
    whenAway: "Fail",
    sideEffects: "None",
    admit: grantItsCopy,
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
    isSparingControl: true,
    admit: judgeChanged(allow),
  },
  judge("virtualmachines", "virtualmachine-validator", judgeMachine),
  judge("virtualmachineinstancereplicasets", "virtualmachinereplicaset-validator"),
  judge("virtualmachineinstancepresets", "virtualmachinepreset-validator"),
  judge("virtualmachinepools", "virtualmachinepool-validator"),
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
    admit: judgeChanged(allow),
  },
  judge("virtualmachinesnapshots", "virtualmachinesnapshot-validator"),
  judge("virtualmachinesnapshotcontents", "virtualmachinesnapshotcontent-validator"),
  judge("virtualmachinerestores", "virtualmachinerestore-validator"),
  judge("virtualmachineexports", "virtualmachineexport-validator"),
  judge("virtualmachinebackups", "virtualmachinebackup-validator"),
  judge("virtualmachinebackuptrackers", "virtualmachinebackuptracker-validator"),
  judge("virtualmachineclones", "vm-clone-validator"),
  judge("migrationpolicies", "migration-policy-validator"),
  judge("virtualmachineinstancetypes", "virtualmachineinstancetype-validator"),
  judge("virtualmachineclusterinstancetypes", "virtualmachineclusterinstancetype-validator"),
  judge("virtualmachinepreferences", "virtualmachinepreference-validator"),
  judge("virtualmachineclusterpreferences", "virtualmachineclusterpreference-validator"),
  judge(DATA_VOLUME.plural, "datavolume-validate"),
  judge("dataimportcrons", "dataimportcron-validate"),
  judge("objecttransfers", "objecttransfer-validate"),
  judge("volumeimportsources", "populator-import-validate"),
  judge("volumeuploadsources", "populator-upload-validate"),
  judge("volumeclonesources", "populator-clone-validate"),
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
