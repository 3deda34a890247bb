import type { Duplex } from "node:stream";
import { TrineError } from "@trine/base";
import type { OpenStream } from "./door-streams.ts";

/** Who has a machine's console or display: one at a time, the last that came. */
export class DoorSessions {
  readonly #held = new Map<string, Duplex>();

  /** Kind `conflict` when another has it and is to keep it. */
  check(name: string, preserve: boolean): void {
    if (preserve && this.#held.has(name)) {
      throw new TrineError("conflict", `another has the ${name.split("/", 1)[0] ?? ""}`);
    }
  }

  join(name: string, stream: OpenStream, caller: Duplex): void {
    this.#held.get(name)?.destroy();
    this.#held.set(name, caller);
    caller.on("close", () => {
      if (this.#held.get(name) === caller) this.#held.delete(name);
    });
    stream.join(caller);
  }
}
