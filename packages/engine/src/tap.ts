/** The tap of the guest's n-th NIC, from 0, in the pod's network namespace. */
export function tapOf(index: number): string {
  return `tap${index}`;
}

/** What names of macvtaps begin with. */
export const MACVTAP = "mvt";

/** Where the kernel carries that NIC's frames: the NIC itself. The tap is the namespace's own link beside it. */
export function macvtapOf(index: number): string {
  return `${MACVTAP}${index}`;
}
