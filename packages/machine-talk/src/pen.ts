import { once } from "node:events";
import { mkdir, readdir, rename, unlink } from "node:fs/promises";
import { connect, createServer } from "node:net";
import type { Server, Socket } from "node:net";
import { join } from "node:path";
import { errnoOf, withDeadline } from "@trine/base";

/** Places are numbers; a take-over goes before the first. */
const FIRST = 5000;
const LAST = 9999;
/** A writer that was stopped (^Z) cannot answer; it cannot write either. */
const HAND_OVER_MS = 2_000;

export type Mode = "write" | "take";

/** Told at each change. `writer`: process id of the one who writes, when it is another. */
export interface PenState {
  readonly writes: boolean;
  readonly writer?: number;
}

interface Place {
  readonly seat: number;
  readonly pid: number;
  readonly path: string;
}

/**
 * Who of several consoles of one machine writes. Each that wants to write has a socket of its own in one
 * directory, named by its place and process; the first that answers writes. A dead one's socket refuses, and
 * its name is never used again, so whoever finds it may remove it.
 */
export class Pen {
  readonly #dir: string;
  readonly #server: Server;
  readonly #visitors = new Set<Socket>();
  readonly #changed: (state: PenState) => void;
  #own: Place = { seat: 0, pid: 0, path: "" };
  #writes = false;
  #writer: Socket | undefined;
  #looking: Promise<void> = Promise.resolve();
  #closed = false;

  private constructor(dir: string, changed: (state: PenState) => void) {
    this.#dir = dir;
    this.#changed = changed;
    this.#server = createServer((visitor) => {
      this.#visitors.add(visitor);
      visitor.on("error", () => undefined); // its end follows
      visitor.on("close", () => this.#visitors.delete(visitor));
      // Whoever says something has taken a place before ours.
      visitor.on("data", () => {
        this.#lookSoon();
      });
    });
  }

  /** Takes a place; with `take` the first one, and the one who wrote has been told. */
  static async join(dir: string, mode: Mode, changed: (state: PenState) => void): Promise<Pen> {
    const pen = new Pen(dir, changed);
    try {
      await pen.#sit(mode);
    } catch (cause) {
      await pen.close();
      throw cause;
    }
    return pen;
  }

  get writes(): boolean {
    return this.#writes;
  }

  /** Gives the place up; the next one writes. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#writes = false;
    if (this.#own.path !== "") await unlink(this.#own.path).catch(unlessGone);
    this.#writer?.destroy();
    this.#server.close();
    for (const visitor of this.#visitors) visitor.destroy();
  }

  async #sit(mode: Mode): Promise<void> {
    await mkdir(this.#dir, { recursive: true, mode: 0o700 });
    const seats = (await this.#places()).map(({ seat }) => seat);
    const wanted =
      seats.length === 0
        ? FIRST
        : mode === "take"
          ? Math.min(...seats) - 1
          : Math.max(...seats) + 1;
    const seat = Math.min(Math.max(wanted, 1000), LAST);
    const name = `${seat}-${process.pid}`;
    const fresh = join(this.#dir, `.${name}`);
    // It listens before it has its name: one that does not answer is dead, not new.
    this.#server.listen(fresh);
    await once(this.#server, "listening");
    this.#own = { seat, pid: process.pid, path: join(this.#dir, name) };
    await rename(fresh, this.#own.path);
    await this.#tellThoseAfter();
    await this.#lookNext();
  }

  /** One that sat down at the same time may write by now, though its place is after ours. */
  async #tellThoseAfter(): Promise<void> {
    for (const place of await this.#places()) {
      if (place.path !== this.#own.path && inOrder(this.#own, place) < 0) await tell(place);
    }
  }

  /** One look after the other: what was seen last is what holds. */
  #lookNext(): Promise<void> {
    const look = this.#looking.then(() => this.#look());
    // Who cannot see the others does not write.
    this.#looking = look.catch(() => {
      this.#set({ writes: false });
    });
    return look;
  }

  #lookSoon(): void {
    void this.#lookNext().catch(() => undefined); // seen above
  }

  async #look(): Promise<void> {
    if (this.#closed) return;
    for (const place of await this.#places()) {
      if (place.path === this.#own.path) break;
      const writer = await visit(place);
      if (writer === undefined) continue;
      this.#watch(writer, place.pid);
      return;
    }
    this.#set({ writes: true });
  }

  #watch(writer: Socket, pid: number): void {
    this.#writer?.removeAllListeners("close").destroy();
    this.#writer = writer;
    writer.on("close", () => {
      this.#lookSoon();
    });
    this.#set({ writes: false, writer: pid });
    // Those who watched us are to find the new writer.
    for (const visitor of this.#visitors) visitor.end();
  }

  #set(state: PenState): void {
    this.#writes = state.writes;
    this.#changed(state);
  }

  async #places(): Promise<Place[]> {
    // With the pod its directory goes.
    const names = await readdir(this.#dir).catch((cause: unknown) => {
      unlessGone(cause);
      return [];
    });
    const places = names.flatMap((name) => {
      const [, seat, pid] = /^(\d{4})-(\d+)$/.exec(name) ?? [];
      if (seat === undefined || pid === undefined) return [];
      return [{ seat: Number(seat), pid: Number(pid), path: join(this.#dir, name) }];
    });
    return places.sort(inOrder);
  }
}

function inOrder(a: Place, b: Place): number {
  return a.seat - b.seat || a.pid - b.pid;
}

/** A connection to the one who sits there; undefined when nobody does, and then its socket is removed. */
async function visit({ path }: Place): Promise<Socket | undefined> {
  const socket = connect(path);
  try {
    await once(socket, "connect");
    socket.on("error", () => undefined); // its end follows
    socket.resume();
    return socket;
  } catch (cause) {
    socket.destroy();
    if (errnoOf(cause) === "ECONNREFUSED") await unlink(path).catch(unlessGone);
    else if (errnoOf(cause) !== "ENOENT") throw cause;
    return undefined;
  }
}

/** Says that another sits before it now; answers when it has seen that. */
async function tell(place: Place): Promise<void> {
  const socket = await visit(place);
  if (socket === undefined) return;
  const seen = once(socket, "close");
  socket.write("\n");
  await withDeadline("hand over", HAND_OVER_MS, seen).catch(() => undefined);
  socket.destroy();
}

function unlessGone(cause: unknown): void {
  if (errnoOf(cause) !== "ENOENT") throw cause;
}
