import { Duplex } from "node:stream";
import { TrineError } from "@trine/base";

/** Before every piece: u32 connection, u32 length, big endian (NRI's pkg/net/multiplex). */
const HEADER_BYTES = 8;
/** What one ttrpc frame takes at most, header included: no peer sends more in one piece. */
const MAX_PIECE_BYTES = 10 + (4 << 20);
/** The peer reads a piece into the buffer of a buffered reader, and one that does not fit ends the connection. */
const SENT_PIECE_BYTES = 4096;
/** Above this the peer is not reading. */
const MAX_QUEUED_BYTES = 16 << 20;

/** Connections over one socket. What comes for a connection that is not open is dropped, as peers do. */
export class Trunk {
  readonly #socket: Duplex;
  readonly #branches = new Map<number, Branch>();
  #pieces: Buffer[] = [];
  #held = 0;
  #wanted = HEADER_BYTES;

  constructor(socket: Duplex) {
    this.#socket = socket;
    socket.on("data", (bytes: Buffer) => {
      try {
        this.#take(bytes);
      } catch (cause) {
        socket.destroy(cause instanceof Error ? cause : new Error(String(cause)));
      }
    });
    let failure: Error | undefined;
    socket.on("error", (error) => (failure = error));
    socket.once("close", () => {
      for (const branch of this.#branches.values()) branch.destroy(failure);
    });
  }

  /** A connection of this number; it ends when the socket does, and ending one ends all. */
  open(id: number): Duplex {
    const branch = new Branch(
      (bytes, done) => {
        this.#send(id, bytes, done);
      },
      () => this.#socket.destroy(),
    );
    this.#branches.set(id, branch);
    return branch;
  }

  #send(id: number, bytes: Buffer, done: (error?: Error) => void): void {
    if (this.#socket.writableLength > MAX_QUEUED_BYTES) {
      done(new TrineError("exhausted", `NRI left ${this.#socket.writableLength} bytes unread`));
      return;
    }
    for (let at = 0; at < bytes.length; at += SENT_PIECE_BYTES) {
      const piece = bytes.subarray(at, at + SENT_PIECE_BYTES);
      const header = Buffer.alloc(HEADER_BYTES);
      header.writeUInt32BE(id, 0);
      header.writeUInt32BE(piece.length, 4);
      this.#socket.write(header);
      this.#socket.write(piece);
    }
    done();
  }

  #take(bytes: Buffer): void {
    this.#pieces.push(bytes);
    this.#held += bytes.length;
    while (this.#held >= this.#wanted) {
      const all = this.#pieces.length === 1 ? this.#pieces[0] : Buffer.concat(this.#pieces);
      if (all === undefined) return;
      const length = all.readUInt32BE(4);
      if (length > MAX_PIECE_BYTES) {
        throw new TrineError("malformed", `NRI: a piece of ${length} bytes`);
      }
      const end = HEADER_BYTES + length;
      this.#wanted = end;
      this.#pieces = [all];
      if (all.length < end) return;
      this.#branches.get(all.readUInt32BE(0))?.push(all.subarray(HEADER_BYTES, end));
      this.#pieces = [all.subarray(end)];
      this.#held = all.length - end;
      this.#wanted = HEADER_BYTES;
    }
  }
}

class Branch extends Duplex {
  readonly #send: (bytes: Buffer, done: (error?: Error) => void) => void;
  readonly #end: () => void;

  constructor(send: (bytes: Buffer, done: (error?: Error) => void) => void, end: () => void) {
    super();
    this.#send = send;
    this.#end = end;
  }

  override _read(): void {
    // Pieces come when the peer sends them; it has one call under way for each answer of ours.
  }

  override _write(bytes: Buffer, _: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#send(bytes, done);
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#end();
    done(error);
  }
}
