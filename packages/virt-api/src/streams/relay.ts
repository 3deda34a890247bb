import type { Duplex } from "node:stream";
import { WebSocket } from "ws";
import { Deframer, MAX_DATAGRAM, framed } from "./datagrams.ts";
import type { OpenStream } from "./open-stream.ts";

export interface RelayTimes {
  /** How often a client is asked for a sign of life, where it is. */
  readonly pingMs: number;
  /** A client without one for so long is gone. */
  readonly silentMs: number;
  /** How long the machine's end may take to close after the client's. */
  readonly lingerMs: number;
}

/** As KubeVirt has the first two. */
const RELAY_TIMES: RelayTimes = { pingMs: 1_000, silentMs: 60_000, lingerMs: 5_000 };

/** So much may wait for a slow client before its machine is made to wait. */
const HIGH_BYTES = 256 * 1024;
/** What one byte stream's frame carries at most. */
const NORMAL = 1000;
const TOO_BIG = 1009;
const FAILED = 1011;

/**
 * Carries bytes both ways until one side ends: in binary frames, as slow as the slower side. The machine's orderly
 * end closes the WebSocket with 1000, its failure with 1011. Resolves when both are closed.
 */
export async function relay(
  client: WebSocket,
  { stream, carries, pings }: OpenStream,
  times: RelayTimes = RELAY_TIMES,
): Promise<void> {
  const closed = Promise.all([onceClosed(client), onceDestroyed(stream)]);
  const endPings = pings ? keepAlive(client, times) : () => undefined;
  toClient(stream, client, carries);
  toMachine(client, stream, carries);
  let linger: NodeJS.Timeout | undefined;
  client.once("close", () => {
    endPings();
    if (stream.destroyed) return;
    stream.end();
    // What it still has to say nobody hears.
    stream.resume();
    linger = setTimeout(() => stream.destroy(), times.lingerMs);
  });
  // A broken frame or a lost connection: `close` follows.
  client.on("error", () => undefined);
  await closed;
  clearTimeout(linger);
}

function toClient(stream: Duplex, client: WebSocket, carries: OpenStream["carries"]): void {
  const deframer = new Deframer();
  const send = (bytes: Buffer): void => {
    client.send(bytes, { binary: true }, () => {
      if (stream.isPaused() && client.bufferedAmount < HIGH_BYTES) stream.resume();
    });
  };
  stream.on("data", (bytes: Buffer) => {
    if (client.readyState !== WebSocket.OPEN) return;
    const frames = carries === "bytes" ? [bytes] : deframer.push(bytes);
    for (const frame of frames) send(frame);
    if (client.bufferedAmount >= HIGH_BYTES) stream.pause();
  });
  stream.once("end", () => {
    if (deframer.isMidway) client.close(FAILED, "a datagram was cut off");
    else client.close(NORMAL);
  });
  stream.once("error", () => {
    client.close(FAILED, "the machine's end was lost");
  });
  stream.once("close", () => {
    // Closed without an end: nothing else would tell the client.
    if (!stream.readableEnded) client.close(FAILED, "the machine's end was lost");
  });
}

function toMachine(client: WebSocket, stream: Duplex, carries: OpenStream["carries"]): void {
  client.on("message", (data) => {
    // Always one Buffer: `binaryType` is Node's default.
    const bytes = data as Buffer;
    if (!stream.writable) return;
    if (carries === "datagrams" && bytes.length > MAX_DATAGRAM) {
      client.close(TOO_BIG, "no datagram is so long");
      return;
    }
    if (!stream.write(carries === "bytes" ? bytes : framed(bytes))) client.pause();
  });
  stream.on("drain", () => {
    if (client.isPaused) client.resume();
  });
  stream.once("close", () => {
    if (client.isPaused) client.resume();
  });
}

/** Pings and ends what does not answer; answers how to stop. */
function keepAlive(client: WebSocket, { pingMs, silentMs }: RelayTimes): () => void {
  let heard = performance.now();
  const onHeard = (): void => {
    heard = performance.now();
  };
  client.on("pong", onHeard);
  client.on("message", onHeard);
  const timer = setInterval(() => {
    // Nothing is read of a client whose machine is slow: its silence is ours.
    if (client.isPaused) onHeard();
    if (performance.now() - heard > silentMs) client.terminate();
    else if (client.readyState === WebSocket.OPEN) client.ping("keep alive");
  }, pingMs);
  return () => {
    clearInterval(timer);
  };
}

function onceClosed(client: WebSocket): Promise<void> {
  if (client.readyState === WebSocket.CLOSED) return Promise.resolve();
  return new Promise((resolve) => {
    client.once("close", () => {
      resolve();
    });
  });
}

function onceDestroyed(stream: Duplex): Promise<void> {
  if (stream.closed) return Promise.resolve();
  return new Promise((resolve) => {
    stream.once("close", () => {
      resolve();
    });
  });
}
