import { once } from "node:events";
import { type Server, type ServerResponse, createServer } from "node:http";
import { type AddressInfo, type Socket, connect } from "node:net";
import type { Duplex } from "node:stream";
import { withDeadline } from "@trine/base";
import { afterEach, beforeEach, expect, test } from "vitest";
import { endServer, isEnding } from "./end-server.ts";

let server: Server;
let client: Socket;

beforeEach(async () => {
  // As the API has it: who waits for that waits for minutes.
  server = createServer({ keepAliveTimeout: 180_000, requestTimeout: 0 });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  client = connect((server.address() as AddressInfo).port, "127.0.0.1");
  client.on("error", () => undefined);
  await once(client, "connect");
});

afterEach(() => {
  client.destroy();
  server.closeAllConnections();
  server.close();
});

test("a connection that is kept alive does not keep the server from ending", async () => {
  server.on("request", (_, response) => response.end("done"));
  client.write("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
  await once(client, "data");
  await withDeadline("the end", 10_000, endServer(server, { graceMs: 600_000 }));
});

test("what is being answered is answered to its end", async () => {
  const asked = once(server, "request");
  client.write("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
  const [, response] = (await asked) as [unknown, ServerResponse];
  expect(isEnding(server)).toBe(false);
  const ended = endServer(server, { graceMs: 600_000 });
  expect(isEnding(server)).toBe(true);
  response.setHeader("connection", "close");
  const answer = once(client, "data");
  response.end("done");
  expect(String((await answer)[0])).toMatch(/done$/);
  await withDeadline("the end", 10_000, ended);
});

test("who never ends a request is cut off, and who has upgraded", async () => {
  const upgraded: Duplex[] = [];
  server.on("upgrade", (_, socket) => upgraded.push(socket));
  const asked = once(server, "upgrade");
  client.write("GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n");
  await asked;
  const other = connect((server.address() as AddressInfo).port, "127.0.0.1");
  other.on("error", () => undefined);
  const begun = once(server, "request");
  other.write("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nx");
  await begun;
  try {
    await withDeadline("the end", 10_000, endServer(server, { upgraded, graceMs: 20 }));
  } finally {
    other.destroy();
  }
});
