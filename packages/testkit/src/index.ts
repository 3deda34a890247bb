export { tinyGuestDisk } from "./tiny-guest-disk.ts";
