/** RuntimeClass handlers, one per level (containerd's drop-in and the RuntimeClasses use the same names). */
export const HANDLER_VM = "trine-vm";
export const HANDLER_MICROVM = "trine-microvm";
export const HANDLERS = [HANDLER_VM, HANDLER_MICROVM] as const;

/** containerd runtime types; containerd makes the shim's file name of them. */
export const RUNTIME_VM = "io.containerd.trine-vm.v2";
export const RUNTIME_MICROVM = "io.containerd.trine-microvm.v2";

/** Label of an OCI image that holds a machine's disk. */
export const IMAGE_LABEL_MACHINE = "trine.dev/machine";

/** What a handler's `pod_annotations` must let through from the pod to the runtime. */
export const POD_ANNOTATION_PATTERNS = [
  "trine.dev/*",
  "Virtlet*",
  "kubernetes.io/target-runtime",
] as const;
