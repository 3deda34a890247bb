import type { Socket } from "node:net";
import { TrineError } from "@trine/base";

/** Enough of an answer to tell whether it is the upgrade: `HTTP/1.1 101`. */
const STATUS_BYTES = 12;
const KEEP_ALIVE_MS = 30_000;

interface Ends {
  readonly client: Socket;
  /** What the client had sent behind its request. */
  readonly head: Buffer;
  /** A request for an upgrade is written to it, or will be once it is connected. */
  readonly upstream: Socket;
  /** How long it may take to its first byte. */
  readonly answerMs: number;
}

/**
 * Passes bytes both ways until both have ended: an end of one side is passed on alone, whoever is slower sets the pace, and the
 * death of one side is the other's. A server that does not answer is told to the client and to `onFailure`.
 */
export function joinStreams(ends: Ends, onFailure: (why: Error) => void): void {
  const { client, upstream, head, answerMs } = ends;
  let hasAnswered = false;
  const fail = (cause: Error): void => {
    clearTimeout(late);
    upstream.destroy();
    if (hasAnswered) return;
    hasAnswered = true;
    onFailure(cause);
    refuse(client, 502, "the container runtime's streaming server does not answer");
  };
  const late = setTimeout(() => {
    fail(new TrineError("timeout", `the streaming server has not answered within ${answerMs} ms`));
  }, answerMs);
  for (const socket of [client, upstream]) socket.setKeepAlive(true, KEEP_ALIVE_MS);
  upstream.on("error", fail);
  upstream.once("end", () => {
    if (!hasAnswered) fail(new TrineError("unavailable", "the streaming server hung up"));
  });
  onceAnswered(upstream, (isUpgrade) => {
    hasAnswered = true;
    clearTimeout(late);
    upstream.pipe(client);
    if (!isUpgrade) {
      // A refusal: what else the client would ask on this connection is for no one.
      upstream.end();
      client.resume();
      return;
    }
    upstream.write(head);
    client.pipe(upstream);
  });
  upstream.once("close", () => {
    clearTimeout(late);
    if (upstream.readableEnded) client.destroySoon();
    else client.destroy();
  });
  client.once("close", () => {
    if (!client.readableEnded || !upstream.readableEnded) upstream.destroy();
  });
}

/** Looks at how the answer begins, and leaves all of it to be read. */
function onceAnswered(upstream: Socket, then: (isUpgrade: boolean) => void): void {
  let begin = Buffer.alloc(0);
  const look = (chunk: Buffer): void => {
    begin = Buffer.concat([begin, chunk]);
    if (begin.length < STATUS_BYTES) return;
    upstream.off("data", look);
    upstream.pause();
    upstream.unshift(begin);
    then(/^HTTP\/1\.1 101$/.test(begin.toString("latin1", 0, STATUS_BYTES)));
  };
  upstream.on("data", look);
}

/** Answers in the words of HTTP and hangs up. */
export function refuse(client: Socket, status: number, words: string): void {
  const head = `HTTP/1.1 ${status} ${status === 404 ? "Not Found" : "Unavailable"}`;
  const length = Buffer.byteLength(words) + 1;
  client.write(
    `${head}\r\nContent-Type: text/plain\r\nContent-Length: ${length}\r\nConnection: close\r\n\r\n${words}\n`,
  );
  client.resume();
  client.destroySoon();
}
