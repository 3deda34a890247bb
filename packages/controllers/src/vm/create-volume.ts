import { TrineError, kindOf } from "@trine/base";
import type { Resource } from "@trine/kube-client";
import type { DataSource, DataVolume } from "@trine/kube-types";
import { foreignSource, mayClone } from "./clone-rights.ts";
import type { VolumeTemplate } from "./data-volumes.ts";
import type { ControlDeps } from "../controller.ts";
import { DATA_VOLUMES } from "../kinds.ts";
import { ownedBy } from "../owner.ts";
import type { Machine } from "./seen.ts";

const DATA_SOURCES: Resource<DataSource> = {
  group: "cdi.kubevirt.io",
  version: "v1beta1",
  plural: "datasources",
  kind: "DataSource",
  namespaced: true,
};

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

/** Makes it, unless it copies what the machine's namespace may not read. One that is there already is left as it is. */
export async function createVolume(
  { api, events }: Pick<ControlDeps, "api" | "events">,
  vm: Machine,
  template: VolumeTemplate,
  signal: AbortSignal,
): Promise<void> {
  const volume = volumeOf(vm, template);
  const { name = "", namespace = "default" } = volume.metadata ?? {};
  const { sourceRef } = template.spec;
  const at = { namespace: sourceRef?.namespace ?? namespace, name: sourceRef?.name ?? "" };
  const isNamed = sourceRef?.kind === "DataSource";
  const source = isNamed ? await api.get(DATA_SOURCES, at, signal) : undefined;
  const from = foreignSource(template.spec, source, namespace);
  const account = vm.spec.template.spec?.serviceAccountName ?? "default";
  if (from !== undefined && !(await mayClone(api, { namespace, account, from }, signal))) {
    const who = `service account ${namespace}/${account}`;
    const message = `Not authorized to create DataVolume ${name}: ${who} needs the right to create datavolumes/source in namespace ${from}`;
    events.record(vm, { type: "Warning", reason: "UnauthorizedDataVolumeCreate", message });
    throw new TrineError("forbidden", message);
  }
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
