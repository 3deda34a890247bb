// The store's verbs as a person types them: a real containerd, a real registry, signals at each step.
import { execFileSync, spawn } from "node:child_process";
import type { ChildProcess, ChildProcessWithoutNullStreams } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { mkdir, mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { pollUntil } from "@trine/base";
import { freePort, runCommand, startContainerd } from "@trine/testkit";
import type { Containerd } from "@trine/testkit";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { parseAs } from "../testing/schema.ts";

const MIB = 1024 * 1024;
const MAIN = join(import.meta.dirname, "../main.ts");
const SECRET = "correct-horse";
const LISTED = "localhost/small:latest";

interface Ran {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

vi.setConfig({ testTimeout: 600_000 });

describe.each(["1.6", "2.4"] as const)("images of containerd %s", (version) => {
  let dir: string;
  let containerd: Containerd;
  let registry: ChildProcess;
  let host: string;
  let files: Server;
  let url: string;
  let disk: Buffer;
  /** Of containerd's store, beyond what was there first. */
  let added: () => Promise<string[]>;
  /** What the file server does with the next request, instead of sending all of it. */
  let holdAfter: number | undefined;
  const ranges: (string | undefined)[] = [];

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), "tci-"));
    containerd = await startContainerd({ version, dir: join(dir, "c") });
    disk = await makeDisk(dir);
    const port = await freePort();
    host = `127.0.0.1:${port}`;
    registry = await startRegistry(join(dir, "registry"), port);
    files = createServer((request, response) => {
      const { range } = request.headers;
      ranges.push(range);
      const start = Number(/\d+/.exec(range ?? "0")?.[0]);
      const headers = { etag: '"1"', "content-length": disk.length - start };
      const part = { "content-range": `bytes ${start}-${disk.length - 1}/${disk.length}` };
      response.writeHead(start > 0 ? 206 : 200, start > 0 ? { ...headers, ...part } : headers);
      if (holdAfter === undefined) response.end(disk.subarray(start));
      else response.write(disk.subarray(start, start + holdAfter));
      holdAfter = undefined;
    });
    await new Promise<void>((resolve) => files.listen(0, "127.0.0.1", resolve));
    url = `http://127.0.0.1:${(files.address() as AddressInfo).port}/small.qcow2`;
    added = await containerd.watchStore();
  }, 1_800_000);

  afterAll(async () => {
    files.closeAllConnections();
    files.close();
    registry.kill();
    expect(await containerd.stop()).toEqual([]);
    await rm(dir, { recursive: true });
  });

  function start(argv: readonly string[], input = ""): ChildProcessWithoutNullStreams {
    const child = spawn(process.execPath, [MAIN, "image", ...argv], {
      stdio: "pipe",
      env: {
        PATH: process.env["PATH"] ?? "",
        TRINE_CONTAINERD: containerd.socket,
        TRINE_DATA: join(dir, "data"),
      },
    });
    child.stdin.end(input);
    return child;
  }

  async function image(argv: readonly string[], input = ""): Promise<Ran> {
    const child = start(argv, input);
    const ended = new Promise<number | null>((resolve) => child.once("close", resolve));
    const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)]);
    return { code: await ended, stdout, stderr };
  }

  /** Starts an import and sends it a signal when its progress names a step. */
  async function interrupted(
    argv: readonly string[],
    step: string,
    signal: NodeJS.Signals,
  ): Promise<number | null> {
    const child = start(["import", url, "--progress=json", ...argv]);
    const ended = new Promise<number | null>((resolve) => child.once("close", resolve));
    let said = "";
    let sent = false;
    child.stderr.on("data", (chunk: Buffer) => {
      said += chunk.toString();
      const isThere =
        said.includes(`"step":"${step}"`) && (step !== "downloading" || hasBegun(said));
      // Once: a second ^C ends the program whatever it does.
      if (isThere && !sent) child.kill(signal);
      sent ||= isThere;
    });
    return ended;
  }

  const hasBegun = (said: string): boolean => /"bytes":[1-9]/.test(said);
  // A test that failed half way takes nothing from the next.
  afterEach(async () => {
    await containerd.removePods();
    await image(["gc", "--downloads", "--unused"]);
  });

  const imports = (): Promise<string[]> => readdir(join(dir, "data/imports"));

  test("an import is listed, shown in every form, tagged, and goes with its last name", async () => {
    const sum = `sha256:${createHash("sha256").update(disk).digest("hex")}`;
    const ran = await image(["import", url, "--checksum", sum, "--progress=json"]);
    expect(ran).toMatchObject({ code: 0, stdout: `${LISTED}\n` });
    const steps = ran.stderr.split("\n").filter((line) => line.startsWith("{"));
    expect(steps.map((line) => parseAs("progress", line))).toContainEqual(
      expect.objectContaining({ object: LISTED, step: "downloading", totalBytes: disk.length }),
    );
    expect((await image(["ls"])).stdout).toMatch(
      /^localhost\/small:latest +machine +8\.\d MiB +16\.0 MiB +0 /m,
    );
    expect((await image(["ls", "-o", "name", "-l", "trine.dev/machine=true"])).stdout).toBe(
      `${LISTED}\n`,
    );
    const shown = await image(["inspect", "localhost/small"]);
    expect(parseAs("image", shown.stdout)).toMatchObject({
      apiVersion: "trine.dev/v1alpha1",
      kind: "Image",
      metadata: { name: LISTED, labels: { "trine.dev/machine": "true", "trine.dev/source": url } },
      status: {
        architecture: "amd64",
        isComplete: true,
        usedBy: [],
        machine: { format: "qcow2", virtualSizeBytes: 16 * MIB },
      },
    });
    const list = parseAs("image", (await image(["ls", "-o", "json"])).stdout) as {
      kind: string;
      items: object[];
    };
    expect(list).toMatchObject({ apiVersion: "v1", kind: "List" });
    expect(list.items).toContainEqual(JSON.parse(shown.stdout));
    expect((await image(["ls", "-o", "yaml"])).stdout).toContain("virtualSizeBytes: 16777216");
    const digest = (
      await image(["inspect", LISTED, "-o", "jsonpath={.status.digest}"])
    ).stdout.trim();

    expect(await image(["tag", digest.slice(7, 19), "localhost/other:2"])).toMatchObject({
      code: 0,
    });
    expect(await image(["tag", "localhost/none", "localhost/other:2"])).toMatchObject({ code: 3 });
    expect(await image(["inspect", digest.slice(0, 16)])).toMatchObject({ code: 5 });
    const some = await image(["rm", LISTED, "localhost/none", "localhost/other:2"]);
    expect(some).toMatchObject({
      code: 3,
      stdout: `${LISTED} removed\nlocalhost/other:2 removed\n`,
    });
    expect(some.stderr).toMatch(/^trine: no image localhost\/none [^\n]*\n$/);
    await expect.poll(added).toEqual([]);
  });

  test("to a registry and back with credentials, which nobody else sees", async () => {
    const name = `${host}/team/small:1`;
    const right = await authFile("right", SECRET);
    expect(await image(["import", url, "--name", name])).toMatchObject({ code: 0 });
    const refused = await image(["push", name]);
    expect(refused).toMatchObject({ code: 6, stdout: "" });
    expect(refused.stderr).toMatch(/^[^\n]*pushing|--auth-file/);
    const wrong = await image(["push", name, "--auth-file", await authFile("wrong", "wrong")]);
    expect(wrong).toMatchObject({ code: 6, stdout: "" });
    expect(wrong.stderr).not.toMatch(/wrong-|me:/);

    const pushing = start(["push", name, "--auth-file", right]);
    const seen = await readFile(`/proc/${pushing.pid ?? 0}/cmdline`, "utf8");
    const pushed = await new Promise((resolve) => pushing.once("close", resolve));
    expect({ pushed, seen: seen.includes(SECRET) }).toEqual({ pushed: 0, seen: false });
    // Again: all of it is there.
    const again = await image(["push", name, "--auth-file", right, "--progress=plain"]);
    expect(again).toMatchObject({ code: 0, stdout: `${name} pushed\n`, stderr: "" });
    const tags = await runCommand("skopeo", [
      ...["list-tags", "--tls-verify=false", "--authfile", right, `docker://${host}/team/small`],
    ]);
    expect(JSON.parse(tags)).toMatchObject({ Tags: ["1"] });

    const before = (await image(["inspect", name, "-o", "jsonpath={.status.digest}"])).stdout;
    expect(await image(["rm", name])).toMatchObject({ code: 0 });
    await expect.poll(added).toEqual([]);
    const denied = await image(["pull", name]);
    expect(denied.code).not.toBe(0);
    expect(denied.stdout).toBe("");
    const login = ["--username", "me", "--password-stdin"];
    const pulled = await image(["pull", name, `${host}/team/none:1`, ...login], `${SECRET}\n`);
    expect(pulled.code).not.toBe(0); // the second is not there
    expect(pulled.stdout).toMatch(
      new RegExp(`^${name.replaceAll(".", "\\.")} sha256:[0-9a-f]+\n$`),
    );
    expect(pulled.stderr).not.toContain(SECRET);
    const after = (await image(["inspect", name, "-o", "jsonpath={.status.digest}"])).stdout;
    expect(after).toBe(before);
    await useAndRemove(name);
    await expect.poll(added).toEqual([]);
  });

  async function authFile(name: string, password: string): Promise<string> {
    const path = join(dir, `${name}.json`);
    const auth = Buffer.from(`me:${password}`).toString("base64");
    await writeFile(path, JSON.stringify({ auths: { [host]: { auth } } }), { mode: 0o600 });
    return path;
  }

  /** A container that was made of it keeps it. */
  async function useAndRemove(name: string): Promise<void> {
    const { runtime } = containerd.cri;
    const config = containerd.podConfig({ name: "user" });
    await mkdir(config.logDirectory, { recursive: true });
    const { podSandboxId } = await runtime.runPodSandbox({ config });
    await runtime.createContainer({
      podSandboxId,
      sandboxConfig: config,
      config: {
        metadata: { name: "main", attempt: 0 },
        image: { image: name },
        logPath: "main.log",
      },
    });
    const refused = await image(["rm", name]);
    expect(refused).toMatchObject({ code: 5, stdout: "" });
    expect(refused.stderr).toContain("used by default/user/main; --force");
    expect((await image(["gc", "--unused"])).stdout).toBe("");
    await runtime.stopPodSandbox({ podSandboxId });
    await runtime.removePodSandbox({ podSandboxId });
    expect((await image(["gc", "--unused", "--older-than", "1h"])).stdout).toBe("");
    expect((await image(["gc", "--unused", "--dry-run"])).stdout).toContain(
      `${name} would be removed\n`,
    );
    expect((await image(["gc", "--unused"])).stdout).toContain(`${name} removed\n`);
  }

  test.each(["downloading", "storing"])(
    "^C at %s is exit code 130, and nothing stays",
    async (step) => {
      holdAfter = step === "downloading" ? MIB : undefined;
      expect(await interrupted([], step, "SIGINT")).toBe(130);
      expect(await imports()).toEqual([]);
      await expect.poll(added).toEqual([]);
    },
  );

  test.each(["downloading", "storing", "registering"])(
    "killed at %s, the same command goes on and leaves nothing else",
    async (step) => {
      ranges.length = 0;
      holdAfter = step === "downloading" ? MIB : undefined;
      expect(await interrupted([], step, "SIGKILL")).toBe(null);
      const ran = await image(["import", url]);
      expect(ran).toMatchObject({ code: 0, stdout: `${LISTED}\n` });
      // A download that was whole is not even asked for again.
      const goesOn = expect.stringMatching(/^bytes=[1-9]\d*-$/) as string;
      if (step === "downloading") expect(ranges).toEqual([undefined, goesOn]);
      expect(await imports()).toEqual([]);
      expect(await containerd.ctr("leases", "ls", "-q")).toBe("");
      expect(await containerd.ctr("content", "active")).not.toContain("trine-import");
      expect(await image(["rm", LISTED])).toMatchObject({ code: 0 });
      await expect.poll(added).toEqual([]);
    },
  );

  test("garbage collection takes what a killed import left", async () => {
    holdAfter = MIB;
    expect(await interrupted([], "downloading", "SIGKILL")).toBe(null);
    expect(await imports()).toHaveLength(1);
    expect((await image(["gc"])).stdout).toMatch(/^import trine-import-\w+ kept\n$/);
    expect((await image(["gc", "--downloads"])).stdout).toMatch(
      /^import trine-import-\w+ removed\n$/,
    );
    expect(await imports()).toEqual([]);
    await expect.poll(added).toEqual([]);
  });
});

/** A QCOW2 of 16 MiB with 8 MiB of data. */
async function makeDisk(dir: string): Promise<Buffer> {
  const raw = Buffer.concat([randomBytes(8 * MIB), Buffer.alloc(8 * MIB)]);
  raw.writeUInt16LE(0xaa55, 510);
  await writeFile(join(dir, "small.raw"), raw);
  const args = ["convert", "-f", "raw", "-O", "qcow2", "small.raw", "small.qcow2"];
  execFileSync("qemu-img", args, { cwd: dir });
  return readFile(join(dir, "small.qcow2"));
}

/** A registry with one user, `me`. */
async function startRegistry(dir: string, port: number): Promise<ChildProcess> {
  await mkdir(join(dir, "data"), { recursive: true });
  const hashed = await runCommand("perl", [
    "-e",
    `print crypt("${SECRET}", q($2y$05$abcdefghijklmnopqrstuu))`,
  ]);
  await writeFile(join(dir, "users"), `me:${hashed}\n`);
  const config = [
    "version: 0.1",
    "log: {level: error}",
    `storage: {filesystem: {rootdirectory: ${join(dir, "data")}}}`,
    `http: {addr: "127.0.0.1:${port}"}`,
    `auth: {htpasswd: {realm: test, path: ${join(dir, "users")}}}`,
  ];
  await writeFile(join(dir, "config.yml"), `${config.join("\n")}\n`);
  const child = spawn("docker-registry", ["serve", join(dir, "config.yml")], { stdio: "ignore" });
  await pollUntil(
    "the registry listens",
    { ms: 60_000 },
    () =>
      new Promise<true | undefined>((resolve) => {
        const socket = connect(port, "127.0.0.1", () => {
          socket.destroy();
          resolve(true);
        });
        socket.on("error", () => {
          resolve(undefined);
        });
      }),
  );
  return child;
}
