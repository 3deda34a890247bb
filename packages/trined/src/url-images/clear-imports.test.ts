import { mkdir, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { expect, test } from "vitest";
import { clearImports } from "./clear-imports.ts";

test("leftovers stay, and are told of, while there is no containerd to free them in", async () => {
  const dir = await mkdtemp(join(tmpdir(), "trine-clear-"));
  const said: string[] = [];
  const log = pino({}, { write: (line: string) => said.push(line) });
  const [workDir, socket] = [join(dir, "imports"), join(dir, "nobody.sock")];
  try {
    await clearImports(socket, workDir, log);
    expect(said).toEqual([]);
    await mkdir(join(workDir, "trine-import-0"), { recursive: true });
    await clearImports(socket, workDir, log);
    expect(said).toEqual([expect.stringContaining("until the next start")]);
    expect(await readdir(workDir)).toEqual(["trine-import-0"]);
  } finally {
    await rm(dir, { recursive: true });
  }
});
