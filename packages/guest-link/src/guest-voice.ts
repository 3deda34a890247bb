import type { RequestOptions } from "./agent-link.ts";
import type { GuestAgent } from "./guest-agent.ts";

/** What a machine's guest says of itself and does with its file systems, whichever agent speaks for it. */
export interface GuestVoice extends Pick<
  GuestAgent,
  | "info"
  | "isFrozen"
  | "networkInterfaces"
  | "osInfo"
  | "hostName"
  | "timezone"
  | "users"
  | "fileSystems"
  | "thaw"
> {
  /** `qemu` thaws whatever stands still; `trine` what it has frozen, by itself too, and takes a new time for it. */
  readonly name: "qemu" | "trine";
  /** `forMs`: an agent that can thaws by itself then. */
  freeze(options: RequestOptions & { readonly forMs: number }): Promise<void>;
}
