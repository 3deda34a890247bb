import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createConnection } from "node:net";
import type { Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pollUntil } from "@trine/base";
import type { ByteChannel } from "@trine/vmm";
import { afterEach, beforeEach, expect, test } from "vitest";
import { GuestAgent } from "./index.ts";
import type { ExecStatus } from "./index.ts";

// The real agent on this host: what would change the host is blocked.
const BLOCKED = "guest-shutdown,guest-set-time,guest-suspend-ram,guest-fsfreeze-freeze";

let dir: string;
let daemon: ChildProcess;
let socket: Socket;
let life: AbortController;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-qga-"));
  const path = join(dir, "ga.sock");
  daemon = spawn(
    "/usr/sbin/qemu-ga",
    ["-m", "unix-listen", "-p", path, "-t", dir, "-f", join(dir, "pid"), "-b", BLOCKED],
    { stdio: "inherit" },
  );
  socket = await pollUntil("the agent's socket", { ms: 30_000 }, () => connected(path));
  life = new AbortController();
});
afterEach(async () => {
  life.abort();
  socket.destroy();
  daemon.kill("SIGKILL");
  if (daemon.exitCode === null && daemon.signalCode === null) await once(daemon, "exit");
  await rm(dir, { recursive: true });
});

async function connected(path: string): Promise<Socket | undefined> {
  const candidate = createConnection(path);
  return once(candidate, "connect").then(
    () => candidate,
    () => undefined,
  );
}

function channel(): ByteChannel {
  const bytes = socket[Symbol.asyncIterator]() as AsyncIterator<Uint8Array>;
  return {
    read: async () => {
      const next = await bytes.next();
      return next.done === true ? undefined : next.value;
    },
    write: (data) =>
      new Promise((resolve, reject) => {
        socket.write(data, (error) => {
          if (error) reject(error);
          else resolve();
        });
      }),
  };
}

function agent(): GuestAgent {
  return new GuestAgent(channel(), { signal: life.signal });
}

function ended(of: GuestAgent, pid: number): Promise<ExecStatus> {
  return pollUntil(`process ${pid}`, { ms: 60_000 }, async () => {
    const status = await of.execStatus(pid);
    return status.exited ? status : undefined;
  });
}

function shell(script: string): {
  path: string;
  args: string[];
  env: string[];
  captureOutput: true;
} {
  return { path: "/bin/sh", args: ["-c", script], env: [], captureOutput: true };
}

test("tells about itself, the system and its addresses", async () => {
  const qga = agent();
  await qga.sync();
  await qga.ping();
  const info = await qga.info();
  expect(Number(info.version.split(".")[0])).toBeGreaterThanOrEqual(7);
  expect(info.enabledCommands.has("guest-exec")).toBe(true);
  expect(info.enabledCommands.has("guest-shutdown")).toBe(false);
  expect((await qga.osInfo()).id).toBeTypeOf("string");
  const loopback = (await qga.networkInterfaces()).find(({ name }) => name === "lo");
  expect(loopback?.addresses).toContainEqual({ family: "ipv4", address: "127.0.0.1", prefix: 8 });
});

test("runs programs with input, environment, output and every kind of end", async () => {
  const qga = agent();
  const input = Buffer.alloc(1 << 20, "x");
  const command = { ...shell('wc -c; echo "$WORD" >&2; exit 3'), env: ["WORD=hello"], input };
  const status = await ended(qga, (await qga.exec(command)).pid);
  expect(status).toMatchObject({ exitCode: 3, signal: undefined, truncated: false });
  expect(Buffer.from(status.stdout).toString().trim()).toBe(String(1 << 20));
  expect(Buffer.from(status.stderr).toString()).toBe("hello\n");

  const killed = await ended(qga, (await qga.exec(shell("kill -9 $$"))).pid);
  expect(killed).toMatchObject({ exitCode: undefined, signal: 9 });
  await expect(qga.exec({ ...shell(""), path: "/nonexistent" })).rejects.toMatchObject({
    kind: "wrongState",
  });
  await expect(qga.execStatus(1)).rejects.toMatchObject({ kind: "wrongState" });
});

test("takes all the output the agent can hold", async () => {
  const qga = agent();
  const { pid } = await qga.exec(shell("head -c 20000000 /dev/zero | tee /dev/stderr"));
  const status = await ended(qga, pid);
  expect(status.truncated).toBe(true);
  expect([status.stdout.length, status.stderr.length]).toEqual([16 << 20, 16 << 20]);
  await qga.ping();
});

test("finds the answer to what an earlier daemon asked, and what it only began to ask is not done", async () => {
  const exec = (id: string): string =>
    JSON.stringify({ execute: "guest-exec", id, arguments: { path: "/bin/true" } });
  socket.write(`${exec("exec-1")}\n${exec("exec-2").slice(0, 60)}`);
  const qga = agent();
  expect((await qga.pendingAnswer("exec-1"))?.pid).toBeGreaterThan(1);
  expect(await qga.pendingAnswer("exec-2")).toBeUndefined();
});

test("gives a blocked command's refusal", async () => {
  const qga = agent();
  await expect(qga.shutdown("powerdown")).rejects.toMatchObject({ kind: "unimplemented" });
  await expect(qga.setTime(new Date())).rejects.toMatchObject({ kind: "unimplemented" });
});

test("an agent that dies is unavailable at once", async () => {
  const qga = agent();
  await qga.ping();
  daemon.kill("SIGSTOP");
  const waiting = qga.ping();
  daemon.kill("SIGKILL");
  await expect(waiting).rejects.toMatchObject({ kind: "unavailable" });
});
