import { type Cause, type ObjectMeta, RESERVED_LABELS } from "@trine/kube-types";

/** Programs that change a machine's definition between controller and VMM: there is none to change here. */
const HOOKS = "hooks.kubevirt.io/hookSidecars";

/** A template's are stored as they are sent, null too. */
type Said = { readonly [name in "labels" | "annotations"]?: ObjectMeta[name] | null };

/**
 * What an instance's metadata, or those of a machine's template, may not say; the words are KubeVirt's, and whole.
 * `isSystem`: the control plane says it, whose labels they are.
 */
export function metadataFaults(
  metadata: Said | null | undefined,
  at: string,
  isSystem: boolean,
): readonly Cause[] {
  const labels = metadata?.labels ?? {};
  const annotations = metadata?.annotations ?? {};
  const faults: Cause[] = [];
  if (!isSystem && RESERVED_LABELS.some((label) => label in labels)) {
    const message =
      "creation of the following reserved kubevirt.io/ labels on a VMI object is prohibited";
    faults.push({ reason: "FieldValueNotSupported", message, field: `${at}.labels` });
  }
  if ((annotations[HOOKS] ?? "") !== "") {
    const field = `${at}.annotations`;
    const message = `sidecar feature gate is not enabled in kubevirt-config, invalid entry ${field}.${HOOKS}`;
    faults.push({ reason: "FieldValueInvalid", message, field });
  }
  return faults;
}
