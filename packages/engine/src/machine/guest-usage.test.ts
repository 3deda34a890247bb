import { GuestAgent } from "@trine/guest-link";
import { FakeGuestAgent } from "@trine/guest-link/testing";
import { afterEach, expect, test, vi } from "vitest";
import { UsageWatch } from "./guest-usage.ts";
import { GuestWatch } from "./guest-watch.ts";

const life = new AbortController().signal;
const ROOT = {
  ...{ name: "vda1", mountpoint: "/", type: "ext4" },
  ...{ "used-bytes": 40, "total-bytes": 100 },
};
const TOLD = {
  ...{ diskName: "vda1", mountPoint: "/", type: "ext4" },
  ...{ usedBytes: 40, totalBytes: 100 },
};
const LOAD = { load1m: 0.5, load5m: 0.25, load15m: 0 };
const MINUTE_MS = 60_000;

afterEach(() => {
  vi.restoreAllMocks();
});

function agentThat(says: Readonly<Record<string, unknown>>) {
  const handlers = Object.entries(says).map(([name, value]) => [name, () => value] as const);
  const fake = new FakeGuestAgent(Object.fromEntries(handlers));
  return { agent: new GuestAgent(fake, { signal: life }), fake };
}

/** The monotonic clock, turned on by hand. */
function clock(): { add: (ms: number) => void } {
  let now = performance.now();
  vi.spyOn(performance, "now").mockImplementation(() => now);
  return {
    add: (ms) => {
      now += ms;
    },
  };
}

function asked(fake: FakeGuestAgent, name: string): number {
  return fake.requests.filter(({ execute }) => execute === name).length;
}

test("a guest is asked how full it is once a minute, and what it said last is there meanwhile", async () => {
  const { add } = clock();
  const { agent, fake } = agentThat({ "guest-get-fsinfo": [ROOT], "guest-get-load": LOAD });
  const usage = new UsageWatch();
  expect(usage.said).toBeUndefined();
  await usage.look(agent);
  add(MINUTE_MS / 2);
  await usage.look(agent);
  expect(usage.said).toEqual({ fileSystems: [TOLD], load: { 1: 0.5, 5: 0.25, 15: 0 } });
  expect(asked(fake, "guest-get-fsinfo")).toBe(1);
  add(MINUTE_MS);
  await usage.look(agent);
  expect(asked(fake, "guest-get-fsinfo")).toBe(2);
  // Another guest is asked at once.
  usage.forget();
  expect(usage.said).toBeUndefined();
  await usage.look(agent);
  expect(asked(fake, "guest-get-fsinfo")).toBe(3);
});

test("what nobody asks for again is not told after three minutes", async () => {
  const { add } = clock();
  const { agent } = agentThat({ "guest-get-fsinfo": [ROOT] });
  const usage = new UsageWatch();
  await usage.look(agent);
  add(3 * MINUTE_MS - 1);
  expect(usage.said).toEqual({ fileSystems: [TOLD] });
  add(1);
  expect(usage.said).toBeUndefined();
});

/** One that answers about its file systems when it is let. */
function agentThatWaits() {
  const fake = new FakeGuestAgent({
    "guest-info": () => ({ version: "10.0", supported_commands: [] }),
    "guest-fsfreeze-status": () => "thawed",
    "guest-get-fsinfo": () => undefined,
  });
  const agent = new GuestAgent(fake, { signal: life });
  const answer = async (): Promise<void> => {
    const isAsked = ({ execute }: { execute: string }) => execute === "guest-get-fsinfo";
    const { id } = await vi.waitUntil(() => fake.requests.find(isAsked));
    fake.send(`${JSON.stringify({ return: [ROOT], id })}\n`);
  };
  return { agent, fake, answer };
}

test("what a former guest says is not told of the one that runs now", async () => {
  const { agent, answer } = agentThatWaits();
  const usage = new UsageWatch();
  const look = usage.look(agent);
  usage.forget();
  await answer();
  await look;
  expect(usage.said).toBeUndefined();
  // The one that runs now is asked at once.
  const next = agentThat({ "guest-get-fsinfo": [ROOT] });
  await usage.look(next.agent);
  expect(usage.said).toEqual({ fileSystems: [TOLD] });
});

test("a look at a guest does not wait until it has said how full it is, and asks it once", async () => {
  const { agent, fake, answer } = agentThatWaits();
  const watch = new GuestWatch(() => [agent]);
  await watch.look();
  expect(watch.said.agent.connected).toBe(true);
  await vi.waitUntil(() => asked(fake, "guest-get-fsinfo") === 1);
  await watch.look();
  expect(watch.usage).toBeUndefined();
  await answer();
  await vi.waitFor(() => {
    expect(watch.usage).toEqual({ fileSystems: [TOLD] });
  });
  expect(asked(fake, "guest-get-fsinfo")).toBe(1);
});

test("an agent that knows no load tells file systems alone", async () => {
  const { agent } = agentThat({ "guest-get-fsinfo": [ROOT] });
  const usage = new UsageWatch();
  await usage.look(agent);
  expect(usage.said).toEqual({ fileSystems: [TOLD] });
});

test("one that ends in the middle says nothing, and is not asked again within ten minutes", async () => {
  const { add } = clock();
  const ended = new AbortController();
  const gone = new GuestAgent(new FakeGuestAgent({}), { signal: ended.signal });
  ended.abort();
  const { agent, fake } = agentThat({ "guest-get-fsinfo": [ROOT] });
  const usage = new UsageWatch();
  await usage.look(gone);
  usage.forget();
  add(5 * MINUTE_MS);
  await usage.look(agent);
  expect([usage.said, asked(fake, "guest-get-fsinfo")]).toEqual([undefined, 0]);
  add(6 * MINUTE_MS);
  await usage.look(agent);
  expect(usage.said).toEqual({ fileSystems: [TOLD] });
});

test("what a hostile guest says is bounded in number and length", async () => {
  const many = Array.from({ length: 500 }, (_, index) => ({
    ...ROOT,
    name: `d${index}`.padEnd(1_000, "x"),
    mountpoint: `/\u001b[31m"}\n${index}`.padEnd(1_000, "y"),
  }));
  const { agent } = agentThat({ "guest-get-fsinfo": many, "guest-get-load": LOAD });
  const usage = new UsageWatch();
  await usage.look(agent);
  const { fileSystems = [] } = usage.said ?? {};
  expect(fileSystems).toHaveLength(64);
  for (const { diskName, mountPoint } of fileSystems) {
    expect(diskName.length).toBeLessThanOrEqual(256);
    expect(mountPoint.length).toBeLessThanOrEqual(256);
    expect(mountPoint).not.toContain("\u001b");
  }
});

test.each([
  ["less than nothing", { "used-bytes": -1 }],
  ["more than can be counted", { "total-bytes": 2 ** 60 }],
  ["half a byte", { "used-bytes": 0.5 }],
  ["nothing", { "total-bytes": undefined }],
])("a file system with %s in it is not told", async (_, odd) => {
  const { agent } = agentThat({ "guest-get-fsinfo": [{ ...ROOT, ...odd }, ROOT] });
  const usage = new UsageWatch();
  await usage.look(agent);
  expect(usage.said).toEqual({ fileSystems: [TOLD] });
});

test.each([{ ...LOAD, load1m: -1 }, { ...LOAD, load15m: 1e300 }, { load1m: 1 }, "busy"])(
  "a load of %j is not told",
  async (load) => {
    const { agent } = agentThat({ "guest-get-fsinfo": [], "guest-get-load": load });
    const usage = new UsageWatch();
    await usage.look(agent);
    expect(usage.said).toEqual({ fileSystems: [] });
  },
);

test("a look at a guest asks it, but not while it is frozen", async () => {
  let frozen = true;
  const fake = new FakeGuestAgent({
    "guest-info": () => ({ version: "10.0", supported_commands: [] }),
    "guest-fsfreeze-status": () => (frozen ? "frozen" : "thawed"),
    "guest-get-fsinfo": () => [ROOT],
  });
  const agent = new GuestAgent(fake, { signal: life });
  const watch = new GuestWatch(() => [agent]);
  await watch.look();
  expect([watch.usage, asked(fake, "guest-get-fsinfo")]).toEqual([undefined, 0]);
  frozen = false;
  await watch.look();
  await vi.waitFor(() => {
    expect(watch.usage).toEqual({ fileSystems: [TOLD] });
  });
  watch.forget();
  expect(watch.usage).toBeUndefined();
});
