import { type Duplex, duplexPair } from "node:stream";
import { TrineError } from "@trine/base";
import type { MachineRef, MachineSize, MachineVerb, NodeDoor } from "@trine/node-door";

/** A door in memory: notes what is asked, and answers as a machine with an agent does. */
export class FakeDoor implements NodeDoor {
  readonly asked: unknown[][] = [];
  /** What every call rejects with, where set. */
  fails: TrineError | undefined;
  /** The machine's side of the streams that were opened. */
  readonly opened: Duplex[] = [];

  machines(): Promise<never[]> {
    return Promise.resolve([]);
  }

  machine(): Promise<never> {
    return Promise.reject(new TrineError("notFound", "no machine"));
  }

  metrics(): Promise<string> {
    return this.#answer("trine_machines 1\n", "metrics");
  }

  async *watch(): AsyncIterable<never> {
    // Nothing happens here.
  }

  act(ref: MachineRef, verb: MachineVerb, options?: { unfreezeAfterMs?: number }): Promise<void> {
    const { unfreezeAfterMs } = options ?? {};
    const more = unfreezeAfterMs === undefined ? [] : [unfreezeAfterMs];
    return this.#answer(undefined, verb, ref, ...more);
  }

  resize(ref: MachineRef, size: MachineSize): Promise<void> {
    return this.#answer(undefined, "resize", ref, size);
  }

  guestOsInfo(ref: MachineRef): Promise<{ hostname: string }> {
    return this.#answer({ hostname: "guest" }, "guestosinfo", ref);
  }

  userList(ref: MachineRef): Promise<{ items: readonly { userName: string }[] }> {
    return this.#answer({ items: [{ userName: "root" }] }, "userlist", ref);
  }

  filesystemList(ref: MachineRef): Promise<{ items: readonly never[] }> {
    return this.#answer({ items: [] }, "filesystemlist", ref);
  }

  screenshot(ref: MachineRef): Promise<Uint8Array> {
    return this.#answer(Uint8Array.of(0x89, 0x50), "screenshot", ref);
  }

  console(ref: MachineRef): Promise<Duplex> {
    return this.#answer(this.#open(), "console", ref);
  }

  vnc(ref: MachineRef, options?: { preserveSession?: boolean }): Promise<Duplex> {
    return this.#answer(this.#open(), "vnc", ref, options?.preserveSession === true);
  }

  portForward(ref: MachineRef, to: { port: number; protocol: "tcp" | "udp" }): Promise<Duplex> {
    return this.#answer(this.#open(), "portforward", ref, to);
  }

  imports(): Promise<never[]> {
    return Promise.resolve([]);
  }

  /** The import's side is `opened`: it says what the test has it say. */
  upload(ref: MachineRef, container: string): Promise<Duplex> {
    const [ours, theirs] = duplexPair();
    this.opened.push(theirs);
    return this.#answer(ours, "upload", ref, container);
  }

  close(): void {
    for (const stream of this.opened) stream.destroy();
  }

  /** Says back what it hears, and ends when it is ended. */
  #open(): Duplex {
    const [ours, theirs] = duplexPair();
    theirs.pipe(theirs);
    this.opened.push(theirs);
    return ours;
  }

  #answer<T>(value: T, ...asked: unknown[]): Promise<T> {
    this.asked.push(asked);
    return this.fails === undefined ? Promise.resolve(value) : Promise.reject(this.fails);
  }
}
