// With lxcfs itself: tests/lxcfs.component.test.ts. Here a program of its name, and a script that answers for it.
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pollUntil } from "@trine/base";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Views } from "./views.ts";

const WAIT_MS = 30_000;

let dir: string;
let lxcfs: ChildProcess;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-views-"));
  await symlink("/bin/sleep", join(dir, "lxcfs"));
  lxcfs = spawn(join(dir, "lxcfs"), ["1000"]);
  await once(lxcfs, "spawn");
  await writeFile(join(dir, "pid"), String(lxcfs.pid));
});
afterEach(async () => {
  const ended = once(lxcfs, "exit");
  lxcfs.kill("SIGKILL");
  await ended;
  await rm(dir, { recursive: true });
});

test(
  "a lxcfs that runs and answers no more is lost, until it answers again",
  { timeout: 60_000 },
  async () => {
    const helper = join(dir, "helper");
    const script = `#!/bin/sh\n[ -e ${dir}/serves ] || { echo silence >&2; exit 1; }\necho "files /proc/stat"\n`;
    await writeFile(helper, script, { mode: 0o755 });
    await writeFile(join(dir, "serves"), "");
    const said: unknown[] = [];
    const note = (fields: object): void => {
      if ("event" in fields) said.push(fields.event);
    };
    const views = new Views({
      ...{ dir, pidFile: join(dir, "pid"), helper, log: { info: note, warn: note } },
      rules: { handlers: [""], byDefault: "on", isMachine: () => false },
    });
    const becomes = (up: boolean): Promise<true> =>
      pollUntil(`up is ${up}`, { ms: WAIT_MS }, () => views.state().up === up || undefined);
    try {
      await becomes(true);
      await rm(join(dir, "serves"));
      await becomes(false);
      expect(lxcfs.exitCode).toBeNull();
      await writeFile(join(dir, "serves"), "");
      await becomes(true);
      // On a busy machine it may be slow once more.
      expect(said.slice(0, 2)).toEqual(["LxcfsUp", "LxcfsLost"]);
      expect(views.state().starts).toBeGreaterThan(1);
    } finally {
      await views.stop();
    }
  },
);
