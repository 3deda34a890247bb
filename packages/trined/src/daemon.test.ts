import { access, mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { defaultConfig } from "./config.ts";
import { runDaemon } from "./daemon.ts";

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-dm-"));
});
afterEach(async () => {
  await rm(dir, { recursive: true });
});

test("a daemon that cannot start leaves nothing that listens", async () => {
  const config = defaultConfig();
  const stateDir = join(dir, "s");
  await mkdir(join(stateDir, "trined.sock/in-the-way"), { recursive: true });
  const starting = runDaemon({
    ...config,
    stateDir,
    rootDir: join(dir, "r"),
    log: { level: "error" },
    machines: { ...config.machines, accelerator: "tcg" },
  });
  await expect(starting).rejects.toThrow(/trined\.sock/);
  await expect(access(join(stateDir, "api.sock"))).rejects.toThrow(/ENOENT/);
});
