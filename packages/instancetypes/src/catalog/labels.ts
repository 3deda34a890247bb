/** What labels and annotations of instance types and preferences begin with. */
export const PREFIX = "instancetype.kubevirt.io";

/** Who wrote these. */
export const VENDOR = "trine.dev";
