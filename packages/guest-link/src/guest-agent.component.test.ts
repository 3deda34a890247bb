import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
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

const KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";

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

/** An agent that has the host's users, in an /etc of its own: what it writes is seen by nobody else. */
async function agentWithUsers(): Promise<GuestAgent> {
  const path = join(dir, "own.sock");
  const home = join(dir, "home");
  // The overlay's upper layer has to lie where overlays can.
  const script = `
    mount -t tmpfs own ${dir}/own && mkdir ${dir}/own/upper ${dir}/own/work &&
    mount -t overlay own -o lowerdir=/etc,upperdir=${dir}/own/upper,workdir=${dir}/own/work /etc &&
    useradd -d ${home} -M -s /bin/sh trine-ga && chown trine-ga ${home} &&
    exec /usr/sbin/qemu-ga -m unix-listen -p ${path} -t ${dir} -f ${dir}/own.pid`;
  await Promise.all([join(dir, "own"), home].map((each) => mkdir(each)));
  socket.destroy();
  daemon.kill("SIGKILL");
  await once(daemon, "exit");
  daemon = spawn("unshare", ["-m", "--propagation", "private", "sh", "-c", script], {
    stdio: "inherit",
  });
  socket = await pollUntil("the agent's socket", { ms: 30_000 }, () => connected(path));
  return agent();
}

async function passwordLine(qga: GuestAgent): Promise<string> {
  const { pid } = await qga.exec(shell("grep ^trine-ga: /etc/shadow"));
  return Buffer.from((await ended(qga, pid)).stdout).toString();
}

test("a user's keys come and go beside those that are his own, and his password is set", async () => {
  const qga = await agentWithUsers();
  const file = join(dir, "home/.ssh/authorized_keys");
  const [a, b, own] = ["a", "b", "own"].map((name) => `${KEY} ${name}`);
  if (a === undefined || b === undefined || own === undefined) throw new Error("no keys");
  await qga.addAuthorizedKeys("trine-ga", [own]);
  await qga.addAuthorizedKeys("trine-ga", [a, b]);
  await qga.addAuthorizedKeys("trine-ga", [a]);
  expect((await readFile(file, "utf8")).trim().split("\n")).toEqual([own, a, b]);
  await qga.removeAuthorizedKeys("trine-ga", [a]);
  await qga.removeAuthorizedKeys("trine-ga", [a]);
  expect((await readFile(file, "utf8")).trim().split("\n")).toEqual([own, b]);
  const refused = { kind: "wrongState" };
  await expect(qga.addAuthorizedKeys("nobody-here", [a])).rejects.toMatchObject(refused);

  const before = await passwordLine(qga);
  await qga.setPassword("trine-ga", "päss: word");
  const after = await passwordLine(qga);
  expect(before).toMatch(/^trine-ga:!/);
  expect(after).toMatch(/^trine-ga:\$/);
  await expect(qga.setPassword("nobody-here", "x")).rejects.toMatchObject(refused);
  expect((await readFile("/etc/passwd", "utf8")).includes("trine-ga")).toBe(false);
});
