// Upgrades on real sockets: what a back end's streaming server gets, and what becomes of it when either side goes.
import { once } from "node:events";
import { connect, createServer } from "node:net";
import type { AddressInfo, Server, Socket } from "node:net";
import { pollUntil, withDeadline } from "@trine/base";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { StreamRelay } from "./stream-relay.ts";
import type { StreamLimits } from "./stream-relay.ts";
import { QUIET, WAIT_MS } from "./testing.ts";

const UPGRADED = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: SPDY/3.1\r\n\r\n";
const MIB = 1024 * 1024;

vi.setConfig({ testTimeout: 4 * WAIT_MS, hookTimeout: WAIT_MS });

/** A streaming server: each connection with what came on it. */
let server: Server;
let url: string;
let accepted: { socket: Socket; text: () => string }[];
let relay: StreamRelay;

beforeEach(async () => {
  accepted = [];
  server = createServer({ allowHalfOpen: true }, (socket) => {
    accepted.push({ socket, text: collected(socket) });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/exec/abc`;
  relay = new StreamRelay("127.0.0.1:0", QUIET);
});
afterEach(async () => {
  await relay.close();
  for (const { socket } of accepted) socket.destroy();
  const closed = once(server, "close");
  server.close();
  await closed;
});

function collected(socket: Socket): () => string {
  let text = "";
  socket.on("data", (chunk: Buffer) => (text += chunk.toString("latin1")));
  socket.on("error", () => undefined);
  return () => text;
}

/** Asks for an upgrade at a URL of the relay's; `more` follows the request at once. */
function ask(at: string, more = ""): { socket: Socket; text: () => string; over: Promise<void> } {
  const { hostname, port, pathname, search } = new URL(at);
  const socket = connect({ host: hostname, port: Number(port), allowHalfOpen: true });
  const lines = [`POST ${pathname}${search} HTTP/1.1`, "Host: node", "Connection: Upgrade"];
  lines.push("Upgrade: SPDY/3.1", "X-Stream-Protocol-Version: v4.channel.k8s.io", "", more);
  socket.write(lines.join("\r\n"));
  const over = new Promise<void>((resolve) => {
    for (const end of ["end", "close"]) {
      socket.once(end, () => {
        socket.destroy();
        resolve();
      });
    }
  });
  return { socket, text: collected(socket), over };
}

function until<T>(what: string, found: () => T | undefined): Promise<T> {
  return pollUntil(what, { ms: WAIT_MS }, found);
}

/** The nth connection of the streaming server, its request whole. */
function request(nth = 0): Promise<{ socket: Socket; text: () => string }> {
  return until("the request", () =>
    accepted[nth]?.text().includes("\r\n\r\n") === true ? accepted[nth] : undefined,
  );
}

function contains(text: () => string, wanted: string): Promise<true> {
  return until(wanted, () => (text().includes(wanted) ? true : undefined));
}

test("an upgrade goes through as it came, and the end of one direction leaves the other open", async () => {
  const client = ask(await relay.offer(`${url}?ports=80`, ""), "early");
  const back = await request();
  const [head = ""] = back.text().split("\r\n\r\n");
  expect(head.split("\r\n")).toEqual([
    "POST /exec/abc?ports=80 HTTP/1.1",
    `Host: ${new URL(url).host}`,
    "Connection: Upgrade",
    "Upgrade: SPDY/3.1",
    "X-Stream-Protocol-Version: v4.channel.k8s.io",
  ]);
  expect(back.text()).not.toContain("early"); // not before the server has agreed
  back.socket.write(`${UPGRADED}\u0080\u0003`, "latin1");
  await contains(client.text, `${UPGRADED}\u0080\u0003`);
  client.socket.end("late");
  await once(back.socket, "end");
  expect(back.text().endsWith("earlylate")).toBe(true);
  back.socket.end("bye");
  await client.over;
  expect(client.text().endsWith("bye")).toBe(true);
  await until("it is forgotten", () => (relay.open === 0 ? true : undefined));
});

test("a URL is good once, not for ever, and there are not too many of them", async () => {
  const mine = await relay.offer(url, "");
  expect(new URL(mine).pathname).toMatch(/^\/stream\/[\w-]{22}$/);
  const first = ask(mine);
  (await request()).socket.write(UPGRADED);
  await contains(first.text, "101");
  const { origin } = new URL(mine);
  for (const at of [mine, ...["/stream/x", "/", "//"].map((path) => `${origin}${path}`)]) {
    const again = ask(at);
    await again.over;
    expect(again.text()).toMatch(/^HTTP\/1\.1 404 /);
  }
  expect(accepted).toHaveLength(1);

  const small = async (limits: Partial<StreamLimits>, work: (of: StreamRelay) => Promise<void>) => {
    const other = new StreamRelay("127.0.0.1:0", QUIET, limits);
    await work(other).finally(() => other.close());
  };
  await small({ urlMs: 0 }, async (of) => {
    const old = ask(await of.offer(url, ""));
    await old.over;
    expect(old.text()).toMatch(/^HTTP\/1\.1 404 /);
  });
  await small({ pending: 1 }, async (of) => {
    await of.offer(url, "");
    await expect(of.offer(url, "")).rejects.toMatchObject({ kind: "exhausted" });
  });
  await small({ open: 0 }, async (of) => {
    const refused = connect(Number(new URL(await of.offer(url, "")).port), "127.0.0.1");
    refused.on("error", () => undefined);
    await once(refused, "close");
  });
});

test.each(["http2://x/exec", "https://127.0.0.1:1/exec/a", "/exec/a"])(
  "does not offer %s",
  async (bad) => {
    await expect(relay.offer(bad, "")).rejects.toMatchObject({ kind: "unimplemented" });
  },
);

test("a URL that leads nowhere from here is dialled where the configuration says", async () => {
  const via = new URL(url).host;
  const client = ask(await relay.offer("http://192.0.2.1:9/exec/a", via));
  const back = await request();
  expect(back.text()).toMatch(/^POST \/exec\/a HTTP\/1\.1\r\nHost: 192\.0\.2\.1:9\r\n/);
  client.socket.destroy();
  ask(await relay.offer("/attach/b", via));
  expect((await request(1)).text()).toMatch(/^POST \/attach\/b HTTP/);
});

test("the death of one side is the other's", async () => {
  for (const [nth, dies] of (["client", "server"] as const).entries()) {
    const client = ask(await relay.offer(url, ""));
    const back = await request(nth);
    back.socket.write(UPGRADED);
    await contains(client.text, "101");
    const [dead, other] =
      dies === "client" ? [client.socket, back.socket] : [back.socket, client.socket];
    const ended = new Promise((resolve) => {
      other.once("end", resolve);
      other.once("error", resolve);
    });
    dead.resetAndDestroy();
    await withDeadline(`the other side of a dead ${dies}`, WAIT_MS, ended);
  }
  await until("both are forgotten", () => (relay.open === 0 ? true : undefined));
});

test("a server that refuses is heard, and nothing more of its client goes to it", async () => {
  const client = ask(await relay.offer(url, ""), "GET /exec/other HTTP/1.1\r\n\r\n");
  const back = await request();
  back.socket.end("HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno");
  await contains(client.text, "404 Not Found\r\nContent-Length: 2\r\n\r\nno");
  await client.over;
  expect(back.text()).not.toContain("other");
});

test.each<[string, (back: { socket: Socket }) => void]>([
  ["hangs up", ({ socket }) => socket.end()],
  ["dies", ({ socket }) => socket.resetAndDestroy()],
  ["says nothing", () => undefined],
])("a server that %s is told of", async (_, act) => {
  const impatient = new StreamRelay("127.0.0.1:0", QUIET, { answerMs: 500 });
  try {
    const client = ask(await impatient.offer(url, ""));
    act(await request());
    await withDeadline("the answer", WAIT_MS, client.over);
    expect(client.text()).toMatch(/^HTTP\/1\.1 502 /);
  } finally {
    await impatient.close();
  }
});

test("nobody there, and a request that asks for no upgrade", async () => {
  const none = createServer();
  none.listen(0, "127.0.0.1");
  await once(none, "listening");
  const { port } = none.address() as AddressInfo;
  none.close();
  const client = ask(await relay.offer(`http://127.0.0.1:${port}/exec/a`, ""));
  await client.over;
  expect(client.text()).toMatch(/^HTTP\/1\.1 502 /);
  expect((await fetch(await relay.offer(url, ""))).status).toBe(426);
  expect(accepted).toEqual([]);
});

test("a client that does not read holds its server back", async () => {
  const client = ask(await relay.offer(url, ""));
  const back = await request();
  back.socket.write(UPGRADED);
  await contains(client.text, "101");
  client.socket.pause();
  back.socket.write(Buffer.alloc(64 * MIB));
  const moved = (): number => back.socket.bytesWritten - back.socket.writableLength;
  let [last, still] = [-1, 0];
  await until("nothing moves any more", () => {
    still = moved() === last ? still + 1 : 0;
    last = moved();
    return still > 5 ? true : undefined;
  });
  expect(back.socket.writableLength).toBeGreaterThan(0);
  client.socket.resume();
  await until("all of it", () => (client.text().length > 64 * MIB ? true : undefined));
});
