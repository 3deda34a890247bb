import type { Socket } from "node:net";
import type { Io } from "../io.ts";

const LEAVE = 0x1d; // ^]
/** A terminal answers a program's questions by itself: that is nobody's typing. */
const ESCAPE = 0x1b;

/** The user's input over the consoles of one pod's machines, one after the other. */
export class Keyboard {
  /** Resolves when the user leaves: by ^] of a terminal, ^C of a read-only one, or with the terminal. */
  readonly leaving: Promise<void>;
  readonly #io: Io;
  readonly #terminal: boolean;
  readonly #typing: boolean;
  #leave: () => void = () => undefined;
  #left = false;
  #to: Socket | undefined;
  #allowed = true;
  #refusal = "";
  #refused = false;
  #ended = false;
  /** Typed before the first console was there. */
  #early: Buffer[] | undefined = [];

  constructor(io: Io, how: { readonly terminal: boolean; readonly typing: boolean }) {
    this.#io = io;
    this.#terminal = how.terminal;
    this.#typing = how.typing;
    this.leaving = new Promise((resolve) => {
      this.#leave = () => {
        this.#left = true;
        resolve();
      };
    });
  }

  /** Whether all that there was to type has been taken. */
  hasEnded(): boolean {
    return this.#ended;
  }

  hasLeft(): boolean {
    return this.#left;
  }

  open(): void {
    const { stdin, signal } = this.#io;
    signal.addEventListener("abort", this.#leave);
    if (this.#terminal) stdin.setRawMode?.(true);
    if (!this.#typing) return;
    stdin.on("data", this.#take);
    stdin.on("end", this.#end);
    stdin.on("error", this.#leave); // the terminal is gone
    // Nothing is read before there is somebody to take it; ^] is looked for all the time.
    if (!this.#terminal) stdin.pause();
  }

  /** What is typed goes there from now on. */
  connect(socket: Socket): void {
    this.#to = socket;
    socket.on("drain", this.#resume);
    for (const part of this.#early ?? []) this.#send(socket, part);
    this.#early = undefined;
    if (this.#ended) socket.end();
    this.#io.stdin.resume();
  }

  disconnect(): void {
    this.#to = undefined;
    this.#io.stdin.resume();
    if (!this.#terminal) this.#io.stdin.pause();
  }

  /** Whether what is typed may go there; else the user is told why not, once. */
  allow(allowed: boolean, refusal: string): void {
    this.#allowed = allowed;
    this.#refusal = refusal;
    this.#refused = false;
  }

  close(): void {
    const { stdin, signal } = this.#io;
    signal.removeEventListener("abort", this.#leave);
    stdin.off("data", this.#take).off("end", this.#end).off("error", this.#leave);
    if (this.#terminal) stdin.setRawMode?.(false);
    stdin.pause();
  }

  readonly #resume = (): void => {
    this.#io.stdin.resume();
  };

  // The shim closes its end when it has taken everything: that is the session's end.
  readonly #end = (): void => {
    this.#ended = true;
    this.#to?.end();
  };

  readonly #take = (chunk: Buffer): void => {
    const end = this.#terminal ? chunk.indexOf(LEAVE) : -1;
    const part = end < 0 ? chunk : chunk.subarray(0, end);
    if (part.length > 0 && this.#to !== undefined) this.#send(this.#to, part);
    else if (part.length > 0) this.#early?.push(part);
    if (end >= 0) this.#leave();
  };

  #send(to: Socket, part: Buffer): void {
    if (this.#allowed) {
      if (!to.write(part)) this.#io.stdin.pause();
    } else if (!this.#refused && part[0] !== ESCAPE) {
      this.#refused = true;
      this.#io.stderr.write(`\r\nNot sent: ${this.#refusal}.\r\n`);
    }
  }
}
