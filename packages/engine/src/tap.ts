/** The tap of the pod's guest in the pod's network namespace. */
export const TAP = "tap0";
