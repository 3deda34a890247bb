// Decision 4: pods outlive the release that started them. The daemon of today serves shims of yesterday, and
// says so where it cannot. TRINE_OLD_SHIM_DIR names the shims of an earlier release, in CI; without it the
// old shim is this build's, kept aside while the installed one is replaced by something that cannot run.
import { access, cp, mkdir, readlink, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type MessageInitShape, create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { withDeadline } from "@trine/base";
import { DescribeResponseSchema, Shim } from "@trine/proto/shim";
import { type RunningPod, DIST } from "@trine/testkit";
import { TtrpcClient, TtrpcServer } from "@trine/ttrpc";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { NodeUnderTest } from "./node-under-test.ts";

const OLD = process.env["TRINE_OLD_SHIM_DIR"] ?? join(DIST, "bin");
const SHIM = "containerd-shim-trine-v2";

describe("a pod of an earlier release's shim", () => {
  let at: NodeUnderTest;
  let pod: RunningPod;
  let shims: string;

  beforeAll(async () => {
    shims = `${DIST}-shims-${process.pid}`;
    await rm(shims, { recursive: true, force: true });
    await cp(OLD, shims, { recursive: true, verbatimSymlinks: true });
    at = await NodeUnderTest.start("1.6", { shimDir: shims });
    pod = await at.booted("old");
  }, 1_800_000);

  afterAll(async () => {
    await at.end();
    await rm(shims, { recursive: true });
  });

  async function connect(): Promise<TtrpcClient> {
    return TtrpcClient.connect(join(await at.podDir(pod), "shim.sock"));
  }

  test("goes on under a new daemon when the installed shim is another file", async () => {
    const { shim } = await at.view(pod);
    await at.node.killTrined();
    // Replaced as a package does: the running one keeps its file, containerd finds the new one.
    await rm(join(shims, SHIM));
    await cp(join(DIST, "bin", SHIM), join(shims, SHIM));
    await at.node.startTrined();
    expect(await readlink(`/proc/${shim.pid}/exe`)).toMatch(/\(deleted\)$/);
    expect((await at.view(pod)).shim).toEqual(shim);
    expect(await at.sh(pod, "echo old")).toMatchObject({ exitCode: 0, stdout: "old\n" });
    const { stats } = await at.runtime.containerStats({ containerId: pod.containerId });
    expect(stats?.cpu?.usageCoreNanoSeconds?.value).toBeGreaterThan(0n);
  });

  test("keeps what a newer daemon wrote down and this one does not know", async () => {
    const client = await connect();
    const shim = client.service(Shim);
    const before = await shim.describe({}, { timeoutMs: 10_000 });
    const document = JSON.parse(Buffer.from(before.state).toString()) as Record<string, unknown>;
    const machine = document["machine"] as Record<string, unknown>;
    const extended = {
      ...document,
      fromTheFuture: { kept: true },
      machine: { ...machine, fromTheFuture: [1, 2] },
    };
    await at.node.killTrined();
    await shim.putState(
      { state: Buffer.from(JSON.stringify(extended)), revision: before.stateRevision + 1n },
      { timeoutMs: 10_000 },
    );
    await at.node.startTrined();
    expect(await at.sh(pod, "true")).toMatchObject({ exitCode: 0 }); // an exec is written down
    const after = await shim.describe({}, { timeoutMs: 10_000 });
    client.close();
    expect(after.stateRevision).toBeGreaterThan(before.stateRevision + 1n);
    expect(JSON.parse(Buffer.from(after.state).toString())).toMatchObject({
      fromTheFuture: { kept: true },
      machine: { fromTheFuture: [1, 2] },
    });
  });

  test("refuses an older daemon's document once a newer one has written", async () => {
    const client = await connect();
    const shim = client.service(Shim);
    const { state, stateRevision } = await shim.describe({}, { timeoutMs: 10_000 });
    const stale = { state: Buffer.from("{}"), revision: stateRevision - 1n };
    await expect(shim.putState(stale, { timeoutMs: 10_000 })).rejects.toThrow();
    const after = await shim.describe({}, { timeoutMs: 10_000 });
    client.close();
    expect(after.state).toEqual(state);
  });

  test("ends and is removed in good order", async () => {
    await at.runtime.stopContainer({ containerId: pod.containerId, timeout: 60n });
    expect(await at.node.ended(pod)).toMatchObject({ exitCode: 0 });
    await at.node.remove(pod);
    expect(await at.views()).toEqual([]);
  });
});

describe("a shim that speaks another protocol", () => {
  let at: NodeUnderTest;

  beforeAll(async () => {
    at = await NodeUnderTest.start("1.6");
  }, 1_800_000);

  afterAll(() => at.end());

  /** A shim that only describes itself, in a pod directory of its own. */
  async function fakeShim(
    facts: MessageInitShape<typeof DescribeResponseSchema>,
    extra: Uint8Array = new Uint8Array(),
  ): Promise<{ dir: string; calls: string[]; close: () => Promise<void> }> {
    const dir = join(at.node.stateDir, "pods", `${facts.sandboxId ?? ""}-0`);
    const bundle = join(dir, "bundle");
    const runtime = "containerd-shim-trine-vm-v2";
    await mkdir(bundle, { recursive: true });
    await writeFile(join(bundle, "config.json"), "{}");
    const calls: string[] = [];
    const server = new TtrpcServer({ onError: () => undefined });
    const known = toBinary(
      DescribeResponseSchema,
      create(DescribeResponseSchema, { runtime, ...facts, bundle, podDir: dir }),
    );
    const answer = fromBinary(DescribeResponseSchema, Buffer.concat([known, extra]));
    server.register(Shim, {
      describe: () => {
        calls.push("describe");
        return Promise.resolve(answer);
      },
      putState: () => {
        calls.push("putState");
        return Promise.resolve({});
      },
      events: async (_request, { signal }) => {
        await new Promise((resolve) => {
          signal.addEventListener("abort", resolve);
        });
        return {};
      },
    });
    await server.listen(join(dir, "shim.sock"));
    return { dir, calls, close: () => server.close() };
  }

  test("is refused with what to do, left alone, and harms no other pod", async () => {
    const other = await at.machine("other");
    await at.node.killTrined();
    const newer = await fakeShim({
      protocol: 2,
      version: "9.0.0",
      namespace: "n",
      sandboxId: "new",
    });
    const none = await fakeShim({ protocol: 0, version: "0", namespace: "n", sandboxId: "none" });
    await at.node.startTrined();
    const log = await at.node.trinedLog(200);
    expect(log).toMatch(/shim of pod new speaks protocol 2, this daemon 1: run the daemon of/);
    expect(log).toMatch(/shim of pod none speaks protocol 0/);
    expect((await at.views()).map(({ sandboxId }) => sandboxId)).toEqual([other.podSandboxId]);
    expect(newer.calls).not.toContain("putState");
    // Still there: its pod lives, whatever this daemon understands of it.
    const again = await withDeadline(
      "the fake",
      5_000,
      TtrpcClient.connect(`${newer.dir}/shim.sock`),
    );
    again.close();
    await at.node.remove(other);
    for (const fake of [newer, none]) {
      await fake.close();
      await rm(fake.dir, { recursive: true });
    }
  });

  test("is served when it only says more than this daemon knows", async () => {
    await at.node.killTrined();
    // Field 200, a string.
    const more = Buffer.from([0xc2, 0x0c, 0x03, 0x6e, 0x65, 0x77]);
    const fake = await fakeShim(
      { protocol: 1, version: "0.9.0", namespace: "n", sandboxId: "talks" },
      more,
    );
    await at.node.startTrined();
    expect((await at.views()).map(({ sandboxId }) => sandboxId)).toEqual(["talks"]);
    await at.node.killTrined();
    // As a killed shim: its socket stays, and nobody listens. Closing a server takes the path away.
    const socket = join(fake.dir, "shim.sock");
    await rename(socket, `${socket}.aside`);
    await fake.close();
    await rename(`${socket}.aside`, socket);
    await at.node.startTrined();
    expect(await at.views()).toEqual([]);
    await expect(access(fake.dir)).rejects.toThrow("ENOENT");
  });
});
