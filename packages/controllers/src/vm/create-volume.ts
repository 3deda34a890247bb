import { TrineError, kindOf } from "@trine/base";
import {
  CLAIMS,
  type CloneUser,
  accountUser,
  cloneRefusal,
  foreignSource,
  mayClone,
  resolveSource,
} from "@trine/kube-client";
import type { DataVolume } from "@trine/kube-types";
import type { VolumeTemplate } from "./data-volumes.ts";
import type { ControlDeps } from "../controller.ts";
import { DATA_VOLUMES } from "../kinds.ts";
import { ownedBy } from "../owner.ts";
import type { Machine } from "./seen.ts";

/** The volume of a machine's template. */
function volumeOf(vm: Machine, { metadata, spec }: VolumeTemplate): DataVolume {
  return {
    apiVersion: "cdi.kubevirt.io/v1beta1",
    kind: "DataVolume",
    metadata: {
      name: metadata?.name ?? "",
      namespace: vm.metadata.namespace ?? "default",
      labels: { ...metadata?.labels, "kubevirt.io/created-by": vm.metadata.uid },
      annotations: { ...metadata?.annotations },
      ownerReferences: [ownedBy(vm)],
    },
    spec,
  };
}

function pinned(
  { metadata, spec }: VolumeTemplate,
  source: NonNullable<DataVolume["spec"]["source"]>,
): VolumeTemplate {
  const named = { ...spec, source };
  delete named.sourceRef;
  return { ...(metadata && { metadata }), spec: named };
}

/** Makes it, unless it copies what the machine's namespace may not read. One that is there already is left as it is. */
export async function createVolume(
  { api, events }: Pick<ControlDeps, "api" | "events">,
  vm: Machine,
  template: VolumeTemplate,
  signal: AbortSignal,
): Promise<void> {
  const { namespace = "default" } = vm.metadata;
  const name = template.metadata?.name ?? "";
  const { source, trouble } = await resolveSource(api, template.spec, namespace, signal);
  if (trouble !== undefined) throw new TrineError("notFound", trouble.message);
  const from = foreignSource(source, namespace);
  const who = accountOf(vm);
  if (from !== undefined && !(await mayClone(api, who, from, signal))) {
    const why = `${cloneRefusal(who, from)}: it needs the right to create datavolumes/source there`;
    const message = `Not authorized to create DataVolume ${name}: ${why}`;
    events.record(vm, { type: "Warning", reason: "UnauthorizedDataVolumeCreate", message });
    const beginning = "Error encountered while creating DataVolumes";
    throw new TrineError("forbidden", `${beginning}: not authorized to create DataVolume: ${why}`);
  }
  if (source?.pvc !== undefined) await tellOfMissing({ api, events }, vm, name, source.pvc, signal);
  // What was looked at is copied, whatever the DataSource says next: also what needed no right, for the next may need one.
  const isSaid = source?.pvc !== undefined || source?.snapshot !== undefined;
  const isPinned = isSaid && template.spec.source === undefined;
  const volume = volumeOf(vm, isPinned ? pinned(template, source) : template);
  try {
    await api.create(DATA_VOLUMES, volume, { signal });
  } catch (cause) {
    if (kindOf(cause) === "alreadyExists") return;
    const message = `Error creating DataVolume ${name}: ${String(cause)}`;
    events.record(vm, { type: "Warning", reason: "FailedDataVolumeCreate", message });
    throw cause;
  }
  const message = `Created DataVolume ${name}`;
  events.record(vm, { type: "Normal", reason: "SuccessfulDataVolumeCreate", message });
}

/** Whose right to copy counts, as in KubeVirt: not that of who wrote the machine. */
function accountOf({ metadata, spec }: Machine): CloneUser {
  const { serviceAccountName = "", volumes = [] } = spec.template.spec ?? {};
  const mounted = volumes.find(({ serviceAccount }) => serviceAccount !== undefined);
  const names = [serviceAccountName, mounted?.serviceAccount?.serviceAccountName, "default"];
  const account = names.find((name) => name !== undefined && name !== "") ?? "default";
  return accountUser(metadata.namespace ?? "default", account);
}

/** The volume is made all the same, and waits for it. */
async function tellOfMissing(
  { api, events }: Pick<ControlDeps, "api" | "events">,
  vm: Machine,
  volume: string,
  claim: { readonly namespace: string; readonly name: string },
  signal: AbortSignal,
): Promise<void> {
  try {
    await api.get(CLAIMS, claim, signal);
  } catch (cause) {
    if (kindOf(cause) !== "notFound") throw cause;
    const what = `Target PVC ${volume} will remain unpopulated until source is created`;
    const message = `Source PVC ${claim.name} not available: ${what}`;
    // KubeVirt's own spelling: who waits for the event waits for that.
    events.record(vm, { type: "Warning", reason: "SourcePVCNotAvailabe", message });
  }
}
