import type { RequestOptions } from "./agent-link.ts";
import type { GuestAgent } from "./guest-agent.ts";

/** What stands still no more: `all`, whoever has frozen it; the agent's `own`, of others' nothing is known; `some`, and something may stand still. */
export type Thawed = "all" | "own" | "some";

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
  | "load"
> {
  /** `qemu` thaws whatever stands still; `trine` that too (older ones what they have frozen alone), by itself as well, and takes a new time for it. */
  readonly name: "qemu" | "trine";
  /** `forMs`: an agent that can thaws by itself then. */
  freeze(options: RequestOptions & { readonly forMs: number }): Promise<void>;
  /** One that is not frozen is a success. */
  thaw(options?: RequestOptions): Promise<Thawed>;
}
