import { execFile } from "node:child_process";
import { stat, writeFile } from "node:fs/promises";
import { afterEach, beforeEach, expect, test } from "vitest";
import { TtrpcServer } from "./index.ts";
import { Bench } from "./testing.ts";

let bench: Bench;

beforeEach(async () => {
  bench = await Bench.open();
});
afterEach(async () => {
  await bench.close();
});

test("a stale socket is replaced, a live one is not", async () => {
  const server = await bench.serve({});
  expect((await stat(bench.path)).mode & 0o777).toBe(0o600);
  const second = new TtrpcServer({ onError: () => undefined });
  await expect(second.listen(bench.path)).rejects.toMatchObject({ kind: "alreadyExists" });
  await server.close();

  await leaveStaleSocket(bench.path);
  await second.listen(bench.path);
  bench.defer(() => second.close());
  await bench.connect();
});

test("a file that is not a socket is left alone", async () => {
  await writeFile(bench.path, "data");
  const server = new TtrpcServer({ onError: () => undefined });
  await expect(server.listen(bench.path)).rejects.toMatchObject({ kind: "wrongState" });
});

/** As a killed process leaves it: the file stays, nobody listens. */
async function leaveStaleSocket(at: string): Promise<void> {
  const script = `require("net").createServer().listen(${JSON.stringify(at)}, () => process.kill(process.pid, "SIGKILL"))`;
  await new Promise<void>((resolve) => {
    execFile(process.execPath, ["-e", script], () => {
      resolve();
    });
  });
}
