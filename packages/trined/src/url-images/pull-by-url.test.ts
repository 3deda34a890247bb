// The import's process as trined starts it, with nothing to import into.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { pullByUrl } from "./pull-by-url.ts";

const PROGRAM = [process.execPath, join(import.meta.dirname, "../main.ts"), "import-image"];

vi.setConfig({ testTimeout: 120_000 });

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-url-"));
});
afterEach(() => rm(dir, { recursive: true }));

function pull(
  name: string,
  how: { program?: readonly string[]; signal?: AbortSignal; resolveMs?: number } = {},
): Promise<string> {
  const order = {
    name: `virtlet.cloud/${name}`,
    rules: { prefix: "virtlet.cloud/", hosts: [], protocol: "https" },
    mappings: dir,
    socket: join(dir, "nobody.sock"),
    snapshotter: "overlayfs",
    workDir: join(dir, "work"),
  } as const;
  const signal = how.signal ?? new AbortController().signal;
  return pullByUrl(how.program ?? PROGRAM, order, signal, how.resolveMs);
}

test("what failed there fails here, in its kind and words", async () => {
  await expect(pull("somewhere.test/a")).rejects.toMatchObject({
    kind: "forbidden",
    message: expect.stringContaining('no server "somewhere.test"') as string,
  });
  await writeFile(join(dir, "m.yaml"), "translations: [{name: a, url: 'http://127.0.0.1:1/a'}]");
  await expect(pull("a")).rejects.toMatchObject({ kind: "unavailable" });
});

test("an expression that never ends ends with its process", async () => {
  await writeFile(join(dir, "m.yaml"), "translations: [{regexp: '^(a+)+$', url: 'http://x'}]");
  await expect(pull(`${"a".repeat(60)}/b`, { resolveMs: 2_000 })).rejects.toMatchObject({
    kind: "timeout",
  });
});

test("an import that is not wanted any more ends", async () => {
  await expect(pull("a", { signal: AbortSignal.abort() })).rejects.toBeInstanceOf(Error);
});

test.each([
  ["is not there", ["/nowhere/trined"], "internal"],
  ["is killed", ["sh", "-c", "kill -9 $$"], "unavailable"],
  ["is killed amid a word", ["sh", "-c", `printf '{"failed":{"ki'; kill -9 $$`], "unavailable"],
])("a program that %s", async (_, program, kind) => {
  await expect(pull("a", { program })).rejects.toMatchObject({ kind });
});
