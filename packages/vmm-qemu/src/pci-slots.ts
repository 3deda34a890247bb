/**
 * Slots on the root bus, fixed by kind: adding a display or a disk moves no other device, so a guest's
 * interface names (enp0s2, …) stay. 0x00 is the host bridge, 0x1f the LPC bridge.
 */
export const DISPLAY_SLOT = 0x01;
export const NIC_SLOTS = range(0x02, 8);
export const DISK_SLOTS = range(0x0a, 16);
export const BALLOON_SLOT = 0x1a;
/** Memory that grows. */
export const MEMORY_SLOT = 0x1e;
export const RNG_SLOT = 0x1b;
export const SERIAL_SLOT = 0x1c;
export const TABLET_SLOT = 0x1d;

/** Functions of the random number generator's slot, which every machine has. */
const BESIDE_RNG = { watchdog: 1, usb: 2, sound: 3, vsock: 4, panic: 5, keyboard: 6 } as const;

/** As QEMU's `addr=` takes it. */
export function besideRng(what: keyof typeof BESIDE_RNG): string {
  return `${slot(RNG_SLOT)}.${BESIDE_RNG[what]}`;
}

/** As QEMU's `addr=` takes it. */
export function slot(number: number | undefined): string {
  if (number === undefined) throw new RangeError("no PCI slot left: checkSpec counts them");
  return `0x${number.toString(16)}`;
}

function range(first: number, count: number): readonly number[] {
  return Array.from({ length: count }, (_, index) => first + index);
}
