// The built daemon as a process, without containerd: start, refusals, readiness, signals.
import { execFile, spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { request } from "node:http";
import type { IncomingMessage } from "node:http";
import { createServer } from "node:net";
import type { Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { pollUntil } from "@trine/base";
import { DIST } from "@trine/testkit";
import { afterEach, beforeEach, expect, test } from "vitest";

const TRINED = join(DIST, "trined.mjs");
const READY_MS = 90_000;

let dir: string;
let config: string;
let children: ChildProcess[];

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-d-"));
  children = [];
  config = join(dir, "c.yaml");
  await configure("machines: {accelerator: tcg}");
});

afterEach(async () => {
  for (const child of children) {
    child.kill("SIGKILL");
    if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
  }
  await rm(dir, { recursive: true });
});

async function configure(...lines: string[]): Promise<void> {
  const own = [`stateDir: ${dir}/s`, `rootDir: ${dir}/r`];
  const all = ["apiVersion: config.trine.dev/v1alpha1", ...own, ...lines, ""];
  await writeFile(config, all.join("\n"));
}

function run(...argv: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    const child = execFile(process.execPath, [TRINED, ...argv], (_, stdout, stderr) => {
      resolve({ code: child.exitCode ?? -1, stdout, stderr });
    });
  });
}

interface Daemon {
  readonly child: ChildProcess;
  readonly output: () => string;
}

function start(): Daemon {
  const child = spawn(process.execPath, [TRINED, "--config", config], { stdio: "pipe" });
  children.push(child);
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (chunk: Buffer) => (output += chunk.toString()));
  }
  return { child, output: () => output };
}

async function get(path: string): Promise<{ status: number; body: string }> {
  const sent = request({ socketPath: join(dir, "s/api.sock"), path });
  sent.end();
  const [answer] = (await once(sent, "response")) as [IncomingMessage];
  return { status: answer.statusCode ?? 0, body: await text(answer) };
}

async function untilReady(daemon: Daemon): Promise<void> {
  await pollUntil("trined is ready", { ms: READY_MS }, async () => {
    if (daemon.child.exitCode !== null) throw new Error(daemon.output());
    return (await get("/readyz").catch(() => undefined))?.status === 200 ? true : undefined;
  });
}

async function end(daemon: Daemon, signal: NodeJS.Signals): Promise<number | null> {
  const ended = once(daemon.child, "exit") as Promise<[number | null]>;
  daemon.child.kill(signal);
  return (await ended)[0];
}

test("config print shows every field, and config check takes what it prints", async () => {
  const printed = await run("config", "print", "--config", config);
  expect(printed).toMatchObject({ code: 0, stderr: "" });
  expect(printed.stdout).toContain(`stateDir: ${dir}/s\n`);
  expect(printed.stdout).toContain("  accelerator: tcg\n");
  expect(printed.stdout).toContain("  powerButtonEveryMs: 5000\n");
  await writeFile(config, printed.stdout);
  expect(await run("config", "check", "--config", config)).toMatchObject({
    code: 0,
    stdout: "ok\n",
  });
});

test.each([
  [["config", "check", "--config", "/nowhere/c.yaml"], /trined: config: ENOENT.*\/nowhere/],
  [["config"], /no command: config/],
  [["config", "show"], /no command: config show/],
  [["--verbose"], /Unknown option '--verbose'/],
  [["--config"], /argument missing/],
])("%j is bad usage: exit code 2", async (argv, says) => {
  const ran = await run(...argv);
  expect(ran).toMatchObject({ code: 2, stdout: "" });
  expect(ran.stderr).toMatch(says);
});

test("a wrong file ends check, print and the daemon itself before anything is made", async () => {
  await configure("machines: {accelerator: fast}", "extra: 1");
  for (const argv of [["config", "check"], ["config", "print"], []]) {
    const ran = await run(...argv, "--config", config);
    expect(ran).toMatchObject({ code: 2, stdout: "" });
    expect(ran.stderr).toMatch(/machines\.accelerator: .*"tcg".*"fast".*extra: there is no such/s);
  }
  await expect(stat(join(dir, "s"))).rejects.toThrow("ENOENT");
});

test("its directories and sockets are root's alone, also where they were open before", async () => {
  await mkdir(join(dir, "s"), { mode: 0o755 });
  const daemon = start();
  await untilReady(daemon);
  const mode = async (path: string): Promise<number> => (await stat(join(dir, path))).mode & 0o777;
  for (const path of ["s", "s/pods", "r"]) expect([path, await mode(path)]).toEqual([path, 0o700]);
  for (const path of ["s/api.sock", "s/trined.sock", "s/trined.lock"]) {
    expect([path, await mode(path)]).toEqual([path, 0o600]);
  }
});

test("a second one on the same directory is refused by name, and the first serves on", async () => {
  const daemon = start();
  await untilReady(daemon);
  const second = await run("--config", config);
  expect(second.code).toBe(1);
  expect(second.stderr).toMatch(
    new RegExp(`another trined \\(pid ${daemon.child.pid ?? 0}\\) runs on ${dir}/s: stop it`),
  );
  expect(await get("/readyz")).toMatchObject({ status: 200 });
  // The lock goes with the process, however it ends.
  await end(daemon, "SIGKILL");
  await untilReady(start());
});

test("SIGTERM and SIGINT end it in order, exit code 0, sockets gone", async () => {
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    const daemon = start();
    await untilReady(daemon);
    expect(await end(daemon, signal)).toBe(0);
    expect(daemon.output()).toContain('"msg":"stopping; machines run on"');
    await expect(stat(join(dir, "s/api.sock"))).rejects.toThrow("ENOENT");
  }
});

test("is alive but not ready while it adopts the pods of an earlier one", async () => {
  const pod = join(dir, "s/pods/aaaaaaaaaaaa-0123456789abcdef");
  await mkdir(pod, { recursive: true });
  // A shim that takes the connection and says nothing.
  const mute: Socket[] = [];
  const shim = createServer((socket) => {
    socket.on("error", () => undefined);
    mute.push(socket);
  });
  await new Promise<void>((resolve) => shim.listen(join(pod, "shim.sock"), resolve));
  const daemon = start();
  const early = await pollUntil("the node API answers", { ms: READY_MS }, () =>
    get("/readyz").catch(() => undefined),
  );
  expect(early).toEqual({ status: 503, body: "adopting the pods of an earlier daemon\n" });
  expect(await get("/livez")).toMatchObject({ status: 200 });
  await expect(stat(join(dir, "s/trined.sock"))).rejects.toThrow("ENOENT");
  shim.close();
  for (const socket of mute) socket.destroy();
  await untilReady(daemon);
});

test("says aloud when there is no usable KVM, and remembers it", async () => {
  await configure("machines: {accelerator: auto}");
  const daemon = start();
  await untilReady(daemon);
  const cache = JSON.parse(await readFile(join(dir, "r/accelerator.json"), "utf8")) as {
    accelerator: string;
    reason: string;
  };
  const lines = daemon.output().trim().split("\n");
  const said = lines.map((line) => JSON.parse(line) as { msg: string; reason?: string });
  const warned = said.find(({ msg }) => msg.startsWith("no usable KVM"));
  expect(warned?.reason).toBe(cache.accelerator === "tcg" ? cache.reason : undefined);
  expect(said.at(-1)).toMatchObject({ msg: "ready", accelerator: cache.accelerator });
});
