import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { TrineError } from "@trine/base";
import { WebSocketServer } from "ws";
import { badRequest } from "../refusals/refusal.ts";
import type { OpenStream } from "./open-stream.ts";
import { type RelayTimes, relay } from "./relay.ts";

/** The only sub-protocol: bytes as they are. */
const PLAIN = "plain.kubevirt.io";
/** One frame of a client's: its bytes are held until the machine has taken them. */
const MAX_FRAME = 1024 * 1024;

export interface StreamLimits {
  readonly all: number;
  readonly ofOneUser: number;
}

const STREAM_LIMITS: StreamLimits = { all: 2_000, ofOneUser: 200 };

/** WebSockets that are open, counted. */
export class Upgrades {
  readonly #server = new WebSocketServer({
    noServer: true,
    maxPayload: MAX_FRAME,
    perMessageDeflate: false,
    // A browser's client insists on its own; others do without.
    handleProtocols: (offered) => (offered.has(PLAIN) ? PLAIN : false),
  });
  readonly #users = new Map<string, number>();
  #all = 0;
  readonly #limits: StreamLimits;
  readonly #times: RelayTimes | undefined;

  constructor(limits: StreamLimits = STREAM_LIMITS, times?: RelayTimes) {
    this.#limits = limits;
    this.#times = times;
  }

  get open(): number {
    return this.#all;
  }

  /** A place for one stream of a user's; answers how to give it back. Rejects with `exhausted` where there is none. */
  reserve(user: string): () => void {
    const own = this.#users.get(user) ?? 0;
    if (own >= this.#limits.ofOneUser || this.#all >= this.#limits.all) {
      throw new TrineError("exhausted", "too many streams are open; close one and try again");
    }
    this.#users.set(user, own + 1);
    this.#all += 1;
    return () => {
      this.#all -= 1;
      const rest = (this.#users.get(user) ?? 1) - 1;
      if (rest === 0) this.#users.delete(user);
      else this.#users.set(user, rest);
    };
  }

  /** Makes the connection a WebSocket and carries bytes until it ends. A handshake that is none is refused by `ws`, and the stream is closed. */
  async serve(
    request: IncomingMessage,
    socket: Duplex,
    head: Buffer,
    open: OpenStream,
  ): Promise<void> {
    const { promise: gone, resolve: onGone } = Promise.withResolvers<undefined>();
    socket.once("close", () => {
      onGone(undefined);
    });
    const upgraded = new Promise<Parameters<typeof relay>[0]>((resolve) => {
      this.#server.handleUpgrade(request, socket, head, resolve);
    });
    const client = await Promise.race([upgraded, gone]);
    if (client === undefined) {
      open.stream.destroy();
      return;
    }
    await relay(client, open, this.#times);
  }

  /** Ends all of them. */
  close(): void {
    for (const client of this.#server.clients) client.close(1001, "the server ends");
    this.#server.close();
  }
}

/** Refuses what cannot become a WebSocket before its machine is troubled. */
export function requireHandshake({ method, headers }: IncomingMessage): void {
  const isOne =
    method === "GET" &&
    headers.upgrade?.toLowerCase() === "websocket" &&
    headers["sec-websocket-version"] === "13" &&
    headers["sec-websocket-key"] !== undefined;
  if (!isOne) throw badRequest("Bad Request: it is no handshake of WebSocket 13");
}
