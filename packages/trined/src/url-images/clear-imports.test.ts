import { mkdir, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pollUntil } from "@trine/base";
import { pino } from "pino";
import { expect, test } from "vitest";
import { clearImports } from "./clear-imports.ts";

test("leftovers are told of and tried again, while there is no containerd to free them in", async () => {
  const dir = await mkdtemp(join(tmpdir(), "trine-clear-"));
  const said: string[] = [];
  const log = pino({}, { write: (line: string) => said.push(line) });
  const [workDir, socket] = [join(dir, "imports"), join(dir, "nobody.sock")];
  const over = new AbortController();
  try {
    await clearImports(socket, workDir, log, over.signal);
    expect(said).toEqual([]);
    await mkdir(join(workDir, "trine-import-0"), { recursive: true });
    const clearing = clearImports(socket, workDir, log, over.signal, 10);
    await pollUntil("it is told", { ms: 20_000 }, () => said[0]);
    expect(said[0]).toContain("stays for now");
    expect(await readdir(workDir)).toEqual(["trine-import-0"]);
    // Nothing is left to be done: that is the end of it too.
    // An attempt that is under way makes a file there meanwhile.
    await rm(join(workDir, "trine-import-0"), { recursive: true, maxRetries: 20, retryDelay: 20 });
    await clearing;
    expect(said.join("")).not.toContain("removed");
  } finally {
    over.abort();
    await rm(dir, { recursive: true });
  }
});
