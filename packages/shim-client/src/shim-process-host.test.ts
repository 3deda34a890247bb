import { mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { TtrpcServer } from "@trine/ttrpc";
import { afterEach, beforeEach, expect, test } from "vitest";
import { ShimLink, ShimProcessHost } from "./index.ts";

let dir: string;
let server: TtrpcServer;
let shim: ShimLink;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-sph-"));
  server = new TtrpcServer({ onError: () => undefined });
  await server.listen(join(dir, "shim.sock"));
  shim = await ShimLink.open(join(dir, "shim.sock"), AbortSignal.timeout(5_000));
});

afterEach(async () => {
  shim.close();
  await server.close();
  await rm(dir, { recursive: true });
});

function hostWithLog(logPath: string): ShimProcessHost {
  return new ShimProcessHost(shim, {
    machineDir: dir,
    taskId: "c1",
    uid: 1,
    gid: 1,
    logPath,
    spoolPath: join(dir, "console.log"),
    spoolBytes: 1,
    attachPath: join(dir, "console.sock"),
    oomScoreAdj: 0,
  });
}

test("the log's tail is its newest 4 KiB, however much the VMM has printed", async () => {
  const log = join(dir, "vmm.log");
  const size = 3 * 1024 ** 3;
  {
    await using file = await open(log, "w");
    await file.write("last words", size);
  }
  const tail = await hostWithLog(log).logTail();
  expect(tail).toHaveLength(4096);
  expect(tail.endsWith("last words")).toBe(true);
});

test("no log is an empty one", async () => {
  expect(await hostWithLog(join(dir, "absent")).logTail()).toBe("");
});

test("a guest link without a socket for its streams is refused before anything is spawned", async () => {
  const plan = {
    key: "vmm",
    argv: ["vmm"],
    env: [],
    descriptors: [{ number: 3, kind: "channel", name: "guest-link", use: "guest" }],
    jail: { binds: [], newNetwork: true },
    exitRules: [],
  } as const;
  await expect(hostWithLog(join(dir, "absent")).spawn(plan)).rejects.toMatchObject({
    kind: "invalid",
  });
});
