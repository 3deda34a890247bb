// Push to a real registry over TLS that takes nothing but tokens of a server beside it.
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { createPrivateKey, randomUUID, sign } from "node:crypto";
import { once } from "node:events";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer, request } from "node:https";
import type { Server } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { json, text } from "node:stream/consumers";
import { pollUntil } from "@trine/base";
import { busyboxImage, freePort, runCommand, startContainerd } from "@trine/testkit";
import type { Containerd } from "@trine/testkit";
import { afterAll, beforeAll, expect, test } from "vitest";
import { runTrine } from "../program.ts";
import { placesOf } from "../testing.ts";

const USER = "me:correct-horse";
const SERVICE = "registry of the test";

let dir: string;
let containerd: Containerd;
let registry: ChildProcess;
let tokens: Server;
let host: string;
/** What the token server was asked: scopes of those who may, "" of those who may not. */
const asked: string[] = [];

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "tpt-"));
  containerd = await startContainerd({ version: "2.4", dir: join(dir, "c") });
  await containerd.importImage(await busyboxImage());
  await runCommand("openssl", [
    ...["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"],
    ...["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
    ...["-keyout", join(dir, "key.pem"), "-out", join(dir, "cert.pem")],
  ]);
  tokens = await startTokenServer();
  const port = await freePort();
  host = `localhost:${port}`;
  registry = await startRegistry(port, (tokens.address() as AddressInfo).port);
}, 600_000);

afterAll(async () => {
  tokens.closeAllConnections();
  tokens.close();
  registry.kill();
  expect(await containerd.stop()).toEqual([]);
  await rm(dir, { recursive: true });
});

async function startTokenServer(): Promise<Server> {
  const [key, cert] = await Promise.all([
    readFile(join(dir, "key.pem"), "utf8"),
    readFile(join(dir, "cert.pem"), "utf8"),
  ]);
  const server = createServer({ key, cert }, (incoming, answer) => {
    const url = new URL(incoming.url ?? "", "https://localhost");
    const scope = url.searchParams.get("scope") ?? "";
    const basic = `Basic ${Buffer.from(USER).toString("base64")}`;
    const may = incoming.headers.authorization === basic;
    asked.push(may ? scope : "");
    if (!may) answer.writeHead(401).end();
    else answer.end(JSON.stringify({ token: tokenFor(scope, key, cert) }));
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  return server;
}

/** A JWT as the distribution project's registry takes it: its key comes as a certificate it trusts. */
function tokenFor(scope: string, key: string, cert: string): string {
  const [type = "", name = "", actions = ""] = scope.split(":");
  const now = Math.floor(Date.now() / 1000);
  const der = cert.replaceAll(/-----[^-]+-----|\s/g, "");
  const parts = [
    { typ: "JWT", alg: "RS256", x5c: [der] },
    {
      ...{ iss: "test", sub: "me", aud: SERVICE, jti: randomUUID() },
      ...{ iat: now, nbf: now - 60, exp: now + 600 },
      access: scope === "" ? [] : [{ type, name, actions: actions.split(",") }],
    },
  ].map((part) => Buffer.from(JSON.stringify(part)).toString("base64url"));
  const signed = parts.join(".");
  const mark = sign("sha256", Buffer.from(signed), createPrivateKey(key)).toString("base64url");
  return `${signed}.${mark}`;
}

async function startRegistry(port: number, tokenPort: number): Promise<ChildProcess> {
  await mkdir(join(dir, "data"));
  const [cert, key] = [join(dir, "cert.pem"), join(dir, "key.pem")];
  const token = [
    `realm: "https://localhost:${tokenPort}/token"`,
    `service: "${SERVICE}"`,
    "issuer: test",
    `rootcertbundle: ${cert}`,
  ];
  const config = [
    "version: 0.1",
    "log: {level: error}",
    `storage: {filesystem: {rootdirectory: ${join(dir, "data")}}}`,
    `http: {addr: "127.0.0.1:${port}", tls: {certificate: ${cert}, key: ${key}}}`,
    `auth: {token: {${token.join(", ")}}}`,
  ];
  await writeFile(join(dir, "config.yml"), `${config.join("\n")}\n`);
  const child = spawn("docker-registry", ["serve", join(dir, "config.yml")], { stdio: "ignore" });
  await pollUntil("the registry answers", { ms: 60_000 }, async () =>
    (await statusOf("/v2/").catch(() => undefined)) === undefined ? undefined : true,
  );
  return child;
}

async function answerOf(
  path: string,
  headers: Record<string, string> = {},
): Promise<{ status: number; body: unknown }> {
  const ca = await readFile(join(dir, "cert.pem"));
  const sent = request(`https://${host}${path}`, { ca, headers, agent: false }).end();
  const [message] = (await once(sent, "response")) as [Parameters<typeof json>[0]];
  const status = (message as { statusCode?: number }).statusCode ?? 0;
  return { status, body: await json(message) };
}

async function statusOf(path: string): Promise<number> {
  return (await answerOf(path)).status;
}

async function push(...flags: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const [stdout, stderr] = [new PassThrough(), new PassThrough()];
  const code = await runTrine(["image", "push", "trine.test/busybox:1", ...flags], {
    stdin: process.stdin,
    ...{ stdout, stderr },
    ...{ ...placesOf(dir), containerd: containerd.socket },
    signal: new AbortController().signal,
  });
  stdout.end();
  stderr.end();
  return { code, stdout: await text(stdout), stderr: await text(stderr) };
}

test("a token is asked for with the credentials, and what is pushed is there", async () => {
  const to = `${host}/team/busybox:1`;
  const auth = join(dir, "auth.json");
  const entry = (user: string): string => Buffer.from(user).toString("base64");
  await writeFile(auth, JSON.stringify({ auths: { [host]: { auth: entry("me:wrong") } } }));
  const ca = ["--ca-file", join(dir, "cert.pem")];
  const wrong = await push("--to", to, "--auth-file", auth, ...ca);
  expect(wrong).toMatchObject({ code: 6, stdout: "" });
  expect(wrong.stderr).toContain("401");
  expect(asked.splice(0)).toEqual([""]);
  await writeFile(auth, JSON.stringify({ auths: { [host]: { auth: entry(USER) } } }));
  const right = await push("--to", to, "--auth-file", auth, ...ca, "--progress", "none");
  expect(right).toMatchObject({ code: 0, stderr: "" });
  expect(asked.every((scope) => scope.startsWith("repository:team/busybox:"))).toBe(true);
  expect(asked.some((scope) => scope.includes("push"))).toBe(true);
  const token = tokenFor(
    "repository:team/busybox:pull",
    await readFile(join(dir, "key.pem"), "utf8"),
    await readFile(join(dir, "cert.pem"), "utf8"),
  );
  const listed = await answerOf("/v2/team/busybox/tags/list", { authorization: `Bearer ${token}` });
  expect(listed).toEqual({ status: 200, body: { name: "team/busybox", tags: ["1"] } });
}, 180_000);

test("an authority that nobody trusts is refused before anything is sent", async () => {
  asked.splice(0);
  await runCommand("openssl", [
    ...["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=other"],
    ...["-keyout", join(dir, "other-key.pem"), "-out", join(dir, "other.pem")],
  ]);
  const other = await push("--to", `${host}/a/b:1`, "--ca-file", join(dir, "other.pem"));
  expect(other).toMatchObject({ stdout: "" });
  expect(other.code).not.toBe(0);
  expect(other.stderr).toMatch(/certificate|--ca-file/);
  expect(asked).toEqual([]);
}, 180_000);
