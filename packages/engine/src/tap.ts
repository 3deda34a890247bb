/** The tap of the guest's n-th NIC, from 0, in the pod's network namespace. */
export function tapOf(index: number): string {
  return `tap${index}`;
}
