// The helper itself is tried by tests/lxcfs.component.test.ts; here it is a script that answers as no good one does.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { bindViews } from "./bind-views.ts";
import type { Bound } from "./bind-views.ts";

const WAIT_MS = 20_000;

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-bind-"));
});
afterEach(async () => {
  await rm(dir, { recursive: true });
});

async function bind(script: string, timeoutMs = WAIT_MS): Promise<Bound> {
  const helper = join(dir, "helper");
  await writeFile(helper, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  const targets = [
    { id: "aaa", pid: 7, files: ["/proc/stat", "/proc/uptime"] },
    { id: "bbb", pid: 8, files: ["/proc/stat"] },
  ];
  return bindViews(helper, "/l", targets, timeoutMs);
}

test("it is told of each container by a line, and answers what came of each", async () => {
  const script = [
    'echo "files /proc/stat"',
    "read one; read two",
    'echo "aaa ok"',
    'echo "bbb $1 $2 $one, $two"',
  ];
  const { files, outcomes } = await bind(script.join("\n"));
  expect(files).toEqual(["/proc/stat"]);
  expect([...outcomes]).toEqual([
    ["aaa", undefined],
    ["bbb", "--views /l aaa 7 /proc/stat /proc/uptime, bbb 8 /proc/stat"],
  ]);
});

test("one that fails says why, one that hangs is ended, one that talks without end too", async () => {
  await expect(bind("echo no lxcfs is mounted >&2; exit 1")).rejects.toMatchObject({
    kind: "unavailable",
    message: "lxcfs at /l: no lxcfs is mounted",
  });
  await expect(bind("exec sleep 1000", 100)).rejects.toThrow("lxcfs at /l: ended by SIGKILL");
  await expect(bind("exec yes")).rejects.toThrow("lxcfs at /l: ended by SIGKILL");
  await expect(bind("echo hello")).rejects.toMatchObject({ kind: "malformed" });
});

test("of one that is killed, what it has said in whole lines counts", async () => {
  const { files, outcomes } = await bind(
    'echo "files /proc/stat"; echo "aaa ok"; printf "bbb o"; kill -KILL $$',
  );
  expect(files).toEqual(["/proc/stat"]);
  expect([...outcomes]).toEqual([["aaa", undefined]]);
  await expect(bind('printf "files /proc/stat"; kill -KILL $$')).rejects.toThrow(
    "lxcfs at /l: ended by SIGKILL",
  );
});

test("one that is not there, or reads nothing, fails the call alone", async () => {
  await expect(bindViews(join(dir, "none"), "/l", [], WAIT_MS)).rejects.toMatchObject({
    kind: "unavailable",
  });
  const { outcomes } = await bind('exec 0<&-; echo "files /proc/stat"');
  expect(outcomes.size).toBe(0);
});

test(
  "one that is not over when killed is waited for no longer, and nothing is asked beside one that is stuck",
  { timeout: 60_000 },
  async () => {
    // Whoever has its output is not ended with it.
    const script = `sleep 1000 & echo $! > ${dir}/pid; exec yes`;
    await expect(bind(script)).rejects.toThrow("it does not end when killed");
    process.kill(Number(await readFile(join(dir, "pid"), "utf8")), "SIGKILL");
    const stuck = spawn("sleep", ["1000"]);
    const ask = bindViews(join(dir, "helper"), "/l", [], WAIT_MS, new Set([stuck]));
    await expect(ask).rejects.toThrow("an earlier question is not answered yet");
    stuck.kill("SIGKILL");
    await once(stuck, "exit");
  },
);
