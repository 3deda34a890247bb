/** How a pod's guest came up: it was there before the pod, went on from a template, or booted and why. */
export type GuestStart =
  | { readonly how: "spare" }
  | { readonly how: "clone" }
  | { readonly how: "cold"; readonly why: WhyCold; readonly detail?: string };

/**
 * off: the node keeps none · making: there is none of this kind yet · changed: the one there was is of another
 * kernel, agent or VMM · no-room: as many as the node keeps are in use · failed: it could not be made, or its
 * clones did not come up · unfit: this pod's clone did not start
 */
export type WhyCold = "off" | "making" | "changed" | "no-room" | "failed" | "unfit";
