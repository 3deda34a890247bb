// The host's end of a guest link, as far as tests need it: what the pod's shim does otherwise.
import { once } from "node:events";
import { createConnection, createServer } from "node:net";
import type { Server, Socket } from "node:net";
import { Duplex } from "node:stream";
import { pollUntil, withDeadline } from "@trine/base";

const RESET = 1;
const HELLO = 2;
const OPEN = 3;
const DATA = 4;
const CREDIT = 5;
const FIN = 6;
const ABORT = 7;
const VERSION = 1;
const HEADER_BYTES = 8;
const MOST_PAYLOAD = 32 * 1024;
const MOST_NAME = 1024;
/** Of unread bytes of a stream. */
const WINDOW = 256 * 1024;

/** One stream: what is written goes to the guest as far as it has given credit, what is read gives it credit back. */
class LinkStream extends Duplex {
  readonly #link: HostLink;
  readonly #id: number;
  #credit = 0;
  #unsent: { data: Buffer; done: (error?: Error | null) => void } | undefined;

  constructor(link: HostLink, id: number) {
    super();
    this.#link = link;
    this.#id = id;
  }

  /** What the guest says of this stream. */
  onFrame(kind: number, payload: Buffer): void {
    if (kind === DATA) {
      this.push(payload);
      const more = Buffer.alloc(4);
      more.writeUInt32BE(payload.length);
      this.#link.send(this.#id, CREDIT, more);
    } else if (kind === FIN) this.push(null);
    else if (kind === ABORT) this.destroy(new Error(`the guest aborts: ${payload.toString()}`));
    else if (kind === CREDIT) {
      this.#credit += payload.readUInt32BE();
      this.#flush();
    }
  }

  override _read(): void {
    // Bytes come as the guest sends them.
  }

  override _write(data: Buffer, _: string, done: (error?: Error | null) => void): void {
    this.#unsent = { data, done };
    this.#flush();
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#link.send(this.#id, FIN, Buffer.alloc(0));
    done();
  }

  #flush(): void {
    const unsent = this.#unsent;
    if (unsent === undefined) return;
    while (unsent.data.length > 0) {
      const count = Math.min(unsent.data.length, this.#credit, MOST_PAYLOAD);
      if (count === 0) return;
      this.#link.send(this.#id, DATA, unsent.data.subarray(0, count));
      unsent.data = unsent.data.subarray(count);
      this.#credit -= count;
    }
    this.#unsent = undefined;
    unsent.done();
  }
}

export class HostLink implements AsyncDisposable {
  readonly #port: Socket;
  readonly #streams = new Map<number, LinkStream>();
  #server: Server | undefined;
  #nonce = Buffer.alloc(0);
  #greeted = Promise.withResolvers<undefined>();
  #rest = Buffer.alloc(0);
  #last = -1;

  private constructor(port: Socket) {
    this.#port = port;
    port.on("data", (data: Buffer) => {
      this.#receive(data);
    });
  }

  /** `path`: the socket a VMM has its guest's port on. */
  static async connect(path: string, ms: number): Promise<HostLink> {
    const port = await pollUntil(`the port ${path}`, { ms }, () => {
      const candidate = createConnection(path);
      return once(candidate, "connect").then(
        () => candidate,
        () => undefined, // the VMM does not listen yet
      );
    });
    return new HostLink(port);
  }

  /** Makes the guest forget every stream; resolves when it has. */
  async reset(ms: number): Promise<void> {
    for (const stream of this.#streams.values()) stream.destroy();
    this.#streams.clear();
    this.#greeted = Promise.withResolvers<undefined>();
    this.#nonce = Buffer.from(crypto.getRandomValues(new Uint8Array(16)));
    const version = Buffer.alloc(4);
    version.writeUInt32BE(VERSION);
    this.send(0, RESET, Buffer.concat([version, this.#nonce]));
    await withDeadline("the guest's HELLO", ms, this.#greeted.promise);
  }

  send(id: number, kind: number, payload: Buffer): void {
    const header = Buffer.alloc(HEADER_BYTES);
    header.writeUInt32BE(id);
    header.writeUInt8(kind, 4);
    header.writeUInt16BE(payload.length, 6);
    this.#port.write(Buffer.concat([header, payload]));
  }

  open(name: string): Duplex {
    this.#last += 2;
    const stream = new LinkStream(this, this.#last);
    this.#streams.set(this.#last, stream);
    const credit = Buffer.alloc(4);
    credit.writeUInt32BE(WINDOW);
    this.send(this.#last, OPEN, Buffer.concat([credit, Buffer.from(name)]));
    return stream;
  }

  /** Makes streams for clients of a socket, which send a name and a newline first. */
  async listen(path: string): Promise<void> {
    this.#server = createServer((socket) => {
      socket.on("error", () => undefined); // its stream ends with it
      let name = "";
      const onData = (data: Buffer): void => {
        name += data.toString("latin1");
        const end = name.indexOf("\n");
        if (end < 0 && name.length <= MOST_NAME) return;
        socket.off("data", onData);
        socket.pause();
        const stream = this.open(name.slice(0, end));
        stream.on("error", () => socket.destroy());
        stream.on("close", () => socket.destroy());
        stream.write(Buffer.from(name.slice(end + 1), "latin1"));
        socket.pipe(stream).pipe(socket);
      };
      socket.on("data", onData);
    });
    this.#server.listen(path);
    await once(this.#server, "listening");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const stream of this.#streams.values()) stream.destroy();
    this.#port.destroy();
    const server = this.#server;
    if (server === undefined) return;
    server.close();
    await once(server, "close");
  }

  #receive(data: Buffer): void {
    this.#rest = Buffer.concat([this.#rest, data]);
    while (this.#rest.length >= HEADER_BYTES) {
      const length = this.#rest.readUInt16BE(6);
      if (this.#rest.length < HEADER_BYTES + length) return;
      const [id, kind] = [this.#rest.readUInt32BE(), this.#rest.readUInt8(4)];
      const payload = this.#rest.subarray(HEADER_BYTES, HEADER_BYTES + length);
      this.#rest = this.#rest.subarray(HEADER_BYTES + length);
      if (kind === HELLO) {
        if (payload.subarray(4).equals(this.#nonce)) this.#greeted.resolve(undefined);
      } else this.#streams.get(id)?.onFrame(kind, payload);
    }
  }
}
