import { bootDisk } from "./boot-disk.ts";

/** What the guest writes on its first serial port once it runs. */
export const BUTTON_GUEST_GREETING = "TRINE\r\n";

/**
 * A guest of 121 bytes for tests: real-mode code the BIOS loads at 0x7c00. It greets on COM1, echoes what comes
 * in there, and powers off when the power button is pressed (ICH9 power management at 0x600). Three
 * letters are orders: `q` powers off, `r` resets, `p` reports a panic to pvpanic at 0x505.
 */
const CODE: readonly (readonly number[])[] = [
  [0xfa], //                        00 cli
  [0x31, 0xc0], //                     xor ax, ax
  [0x8e, 0xd8], //                     mov ds, ax
  [0x8e, 0xd0], //                     mov ss, ax
  [0xbc, 0x00, 0x7c], //               mov sp, 0x7c00
  [0xfc], //                           cld
  [0xba, 0x02, 0x06], //               mov dx, 0x602     PM1_EN
  [0xb8, 0x00, 0x01], //               mov ax, 0x100     power button
  [0xef], //                           out dx, ax
  [0xbe, 0x71, 0x7c], //               mov si, greeting
  [0xac], //                        15 lodsb             next letter
  [0x84, 0xc0], //                     test al, al
  [0x74, 0x05], //                     jz 1f
  [0xe8, 0x2a, 0x00], //               call put
  [0xeb, 0xf6], //                     jmp 15
  [0xfb], //                        1f sti               wait: the timer wakes it 18 times a second
  [0xf4], //                           hlt
  [0xba, 0x00, 0x06], //               mov dx, 0x600     PM1_STS
  [0xed], //                           in ax, dx
  [0xf6, 0xc4, 0x01], //               test ah, 1        power button
  [0x75, 0x2e], //                     jnz off
  [0xba, 0xfd, 0x03], //               mov dx, 0x3fd     COM1 line status
  [0xec], //                           in al, dx
  [0xa8, 0x01], //                     test al, 1        data ready
  [0x74, 0xed], //                     jz 1f
  [0xba, 0xf8, 0x03], //               mov dx, 0x3f8
  [0xec], //                           in al, dx
  [0x3c, 0x70], //                     cmp al, 'p'
  [0x74, 0x27], //                     je panic
  [0x3c, 0x72], //                     cmp al, 'r'
  [0x74, 0x2b], //                     je reset
  [0x3c, 0x71], //                     cmp al, 'q'
  [0x74, 0x16], //                     je off
  [0xe8, 0x02, 0x00], //               call put
  [0xeb, 0xd8], //                     jmp 1f
  [0x88, 0xc3], //                  47 mov bl, al        put
  [0xba, 0xfd, 0x03], //               mov dx, 0x3fd
  [0xec], //                        4c in al, dx
  [0xa8, 0x20], //                     test al, 0x20     transmitter empty
  [0x74, 0xfb], //                     jz 4c
  [0xba, 0xf8, 0x03], //               mov dx, 0x3f8
  [0x88, 0xd8], //                     mov al, bl
  [0xee], //                           out dx, al
  [0xc3], //                           ret
  [0xba, 0x04, 0x06], //            58 mov dx, 0x604     off: PM1_CNT
  [0xb8, 0x00, 0x20], //               mov ax, 0x2000    SLP_EN, type 0 = S5
  [0xef], //                           out dx, ax
  [0xeb, 0xbe], //                     jmp 1f
  [0xba, 0x05, 0x05], //            61 mov dx, 0x505     panic
  [0xb0, 0x01], //                     mov al, 1
  [0xee], //                           out dx, al
  [0xeb, 0xb6], //                     jmp 1f
  [0xba, 0xf9, 0x0c], //            69 mov dx, 0xcf9     reset
  [0xb0, 0x06], //                     mov al, 6
  [0xee], //                           out dx, al
  [0xeb, 0xae], //                     jmp 1f
];

/** The guest as a raw disk image. */
export function buttonGuestDisk(): Uint8Array {
  return bootDisk([...CODE.flat(), ...new TextEncoder().encode(`${BUTTON_GUEST_GREETING}\0`)]);
}
