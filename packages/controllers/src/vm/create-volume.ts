import { TrineError, kindOf } from "@trine/base";
import { accountUser, foreignNamespace, mayClone, resolveSource } from "@trine/kube-client";
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
  const { source, missing } = await resolveSource(api, template.spec, namespace, signal);
  if (missing !== undefined) {
    throw new TrineError("notFound", `DataSource ${missing} is not there`);
  }
  const from = foreignNamespace(source, namespace);
  const account = vm.spec.template.spec?.serviceAccountName ?? "default";
  if (from !== undefined && !(await mayClone(api, accountUser(namespace, account), from, signal))) {
    const who = `service account ${namespace}/${account}`;
    const message = `Not authorized to create DataVolume ${name}: ${who} needs the right to create datavolumes/source in namespace ${from}`;
    events.record(vm, { type: "Warning", reason: "UnauthorizedDataVolumeCreate", message });
    throw new TrineError("forbidden", message);
  }
  // What was looked at is copied, whatever the DataSource says next.
  const isPinned = from !== undefined && template.spec.source === undefined && source !== undefined;
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
