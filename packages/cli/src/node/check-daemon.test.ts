import { createServer } from "node:http";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { DAEMON_CHECKS } from "./check-daemon.ts";
import type { Finding } from "./finding.ts";

const signal = AbortSignal.timeout(30_000);
let stateDir: string;
let server: ReturnType<typeof createServer> | undefined;

beforeEach(async () => {
  stateDir = await mkdtemp(join(tmpdir(), "trine-check-"));
});

afterEach(async () => {
  server?.closeAllConnections();
  server?.close();
  server = undefined;
  await rm(stateDir, { recursive: true });
});

/** A daemon that answers this under `/v1/spares`; undefined: it knows no such path. */
async function daemon(items: readonly object[] | undefined): Promise<void> {
  server = createServer((request, response) => {
    const knows = items !== undefined && request.url === "/v1/spares";
    response.writeHead(knows ? 200 : 404).end(knows ? JSON.stringify({ items }) : "no such path\n");
  });
  await new Promise<void>((resolve) => server?.listen(join(stateDir, "api.sock"), resolve));
}

async function spares(): Promise<Omit<Finding, "name"> | undefined> {
  const check = DAEMON_CHECKS.find(({ name }) => name === "spares");
  return check?.run({ stateDir, containerd: "/c", qemu: "/q" }, signal);
}

const size = { cpus: 1, memoryBytes: 256 * 1024 * 1024, heldBytes: 99 * 1024 * 1024 };

test("says how many of each size are ready and what they hold", async () => {
  await daemon([{ ...size, ready: 2, wanted: 2 }]);
  expect(await spares()).toEqual({
    status: "ok",
    detail: "2 of 2 with 1 CPU and 256 MiB are ready and hold 99 MiB",
  });
});

test("warns while some are missing", async () => {
  await daemon([{ ...size, ready: 1, wanted: 2 }]);
  expect(await spares()).toMatchObject({
    status: "warn",
    detail: expect.stringMatching(/^1 of 2 /) as string,
  });
});

test.each([
  ["keeps none", []],
  ["is older", undefined],
])("all is well where the daemon %s", async (_, items) => {
  await daemon(items);
  expect(await spares()).toMatchObject({ status: "ok" });
});

test("without a daemon nothing is known, which is the other check's to tell", async () => {
  expect(await spares()).toMatchObject({ status: "warn" });
});
