import { mkdir, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { TrineError, pollUntil } from "@trine/base";
import { machineSpec } from "@trine/vmm/testing";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { EngineDeps } from "../deps.ts";
import { SpawningDriver } from "../testing/spawning-driver.ts";
import { newUids } from "../testing/test-engine.ts";
import { Templates } from "./templates.ts";

const MIB = 1024 * 1024;
const BOOT = { kind: "direct", kernel: "/k", initrd: "/i", cmdline: "quiet" } as const;

/** Its templates differ by memory; `failKey` is what it says instead of a key. */
class KeyedDriver extends SpawningDriver {
  failKey: Error | undefined;

  override templateKey(spec?: { memoryBytes: number }): Promise<string> {
    if (this.failKey !== undefined) return Promise.reject(this.failKey);
    return Promise.resolve(`key of ${spec?.memoryBytes ?? 0}`);
  }
}

let dir: string;
let driver: KeyedDriver;
const all: Templates[] = [];

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-templates-"));
  driver = new KeyedDriver();
});

afterEach(async () => {
  for (const templates of all.splice(0)) await templates.detach();
  await rm(dir, { recursive: true });
});

/** On a node without a shim's program: no template can be made. */
function make(most: number): Templates {
  const deps: EngineDeps = {
    ...{ driver, uids: newUids(), log: pino({ level: "silent" }), now: () => new Date() },
    guestImage: () => Promise.resolve({ kernel: "/k", initrd: "/i", commandLine: "quiet" }),
    config: {
      stateDir: dir,
      rootDir: dir,
      accelerator: "tcg",
      machines: {
        defaultMemoryBytes: 64 * MIB,
        maxDiskBytes: MIB,
        consoleSpoolBytes: MIB,
        uefi: undefined,
        powerButtonEveryMs: 10,
        virtiofsd: "/usr/libexec/virtiofsd",
        passt: "",
        agent: "/usr/local/bin/trine-agent",
        nestedShim: "/none",
      },
      microvms: {
        shim: join(dir, "absent"),
        fileServer: "/p9",
        defaultMemoryBytes: 128 * MIB,
        defaultCpus: 1,
        bootMs: 1_000,
        roots: { mkfs: "/usr/bin/mkfs.erofs" },
        pool: [],
        templates: { most, sizes: [] },
      },
    },
  };
  const templates = new Templates(deps);
  all.push(templates);
  return templates;
}

test("a node that keeps none lets every pod boot, and says so", async () => {
  const { start, spec } = await make(0).startOf(machineSpec({ boot: BOOT }));
  expect(start).toEqual({ how: "cold", why: "off" });
  expect(spec.memoryMaxBytes).toBeGreaterThan(spec.memoryBytes); // it can grow all the same
});

test("one that cannot be made is asked for once, and the next pods learn why there is none", async () => {
  const templates = make(1);
  expect((await templates.startOf(machineSpec())).start).toEqual({ how: "cold", why: "making" });
  const { start } = await pollUntil("it has failed", { ms: 10_000, everyMs: 10 }, async () => {
    const answer = await templates.startOf(machineSpec());
    return answer.start.how === "cold" && answer.start.why === "failed" ? answer : undefined;
  });
  expect(start).toMatchObject({ detail: expect.stringContaining("make a shim") as string });
  expect(templates.making).toBe(0);
  expect(await templates.list()).toEqual([]);
  // What failed for one kind of machine is no reason for another.
  const other = await templates.startOf(machineSpec({ memoryBytes: 32 * MIB }));
  expect(other.start).toEqual({ how: "cold", why: "making" });
});

test("pods of other sizes go on from the template of the largest base that they hold", async () => {
  const templates = make(1);
  for (const mib of [128, 160, 512]) {
    const { start } = await templates.startOf(machineSpec({ boot: BOOT, memoryBytes: mib * MIB }));
    expect(start).toEqual({ how: "cold", why: "making" }); // the same one: there is room for no other
  }
});

test("no more are made at a time than the node keeps", async () => {
  const templates = make(1);
  const starts = [64, 32].map((mib) => templates.startOf(machineSpec({ memoryBytes: mib * MIB })));
  expect((await Promise.all(starts)).map(({ start }) => start)).toEqual([
    { how: "cold", why: "making" },
    { how: "cold", why: "no-room", detail: "microvms.templates.most are in use" },
  ]);
});

test("a machine that has no key boots with the reason", async () => {
  driver.failKey = new TrineError("unavailable", "QEMU is gone");
  const { start } = await make(1).startOf(machineSpec());
  expect(start).toEqual({ how: "cold", why: "failed", detail: "QEMU is gone" });
});

test("what a daemon before left without a shim is removed", async () => {
  await mkdir(join(dir, "templates/left/machine"), { recursive: true });
  await make(1).adoptAll();
  expect(await readdir(join(dir, "templates"))).toEqual([]);
});
