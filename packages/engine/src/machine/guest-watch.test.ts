import type { TrineError } from "@trine/base";
import { GuestAgent } from "@trine/guest-link";
import { AgentRefusal, FakeGuestAgent } from "@trine/guest-link/testing";
import { expect, test } from "vitest";
import { fileSystemsOf, osInfoOf, usersOf } from "./guest-info.ts";
import { GuestWatch } from "./guest-watch.ts";

const life = new AbortController().signal;
const NIC = {
  name: "eth0",
  "hardware-address": "02:00:00:00:00:0A",
  "ip-addresses": [
    { "ip-address": "fe80::1%2", "ip-address-type": "ipv6", prefix: 64 },
    { "ip-address": "10.1.0.2", "ip-address-type": "ipv4", prefix: 16 },
  ],
};
const INFO = { version: "7.2", supported_commands: [{ name: "guest-info", enabled: true }] };

type Says = Readonly<Record<string, unknown>>;

function agentThat(says: Says): { agent: GuestAgent; fake: FakeGuestAgent } {
  const handlers = Object.entries({ "guest-info": INFO, ...says }).map(([name, value]) => [
    name,
    () => value,
  ]);
  const fake = new FakeGuestAgent(Object.fromEntries(handlers) as Record<string, () => unknown>);
  return { agent: new GuestAgent(fake, { signal: life }), fake };
}

test("a guest's cards and system are what its agent says; without one nothing is", async () => {
  const { agent } = agentThat({
    "guest-fsfreeze-status": "thawed",
    "guest-network-get-interfaces": [{ name: "lo" }, NIC],
    "guest-get-osinfo": { id: "debian", "pretty-name": "Debian \u001b[31m12" },
    "guest-get-host-name": { "host-name": "web-1" },
    "guest-get-timezone": { zone: "CET", offset: 3600 },
  });
  let isThere = true;
  const watch = new GuestWatch(() => (isThere ? [agent] : []));
  await watch.look();
  expect(watch.said).toEqual({
    agent: {
      ...{ connected: true, frozen: false, version: "7.2", hostname: "web-1" },
      os: { id: "debian", prettyName: "Debian  [31m12" },
      timezone: { name: "CET", offsetSeconds: 3600 },
    },
    nics: [{ name: "eth0", mac: "02:00:00:00:00:0a", addresses: ["fe80::1", "10.1.0.2"] }],
  });
  isThere = false;
  await watch.look();
  expect(watch.said).toEqual({ agent: { connected: false, frozen: false }, nics: undefined });
});

test("what seldom changes is not asked for again, nor anything of a guest that is frozen", async () => {
  let frozen = false;
  const fake = new FakeGuestAgent({
    "guest-info": () => INFO,
    "guest-fsfreeze-status": () => (frozen ? "frozen" : "thawed"),
    "guest-network-get-interfaces": () => {
      if (frozen) throw new AgentRefusal("not while frozen");
      return [NIC];
    },
  });
  const agent = new GuestAgent(fake, { signal: life });
  const watch = new GuestWatch(() => [agent]);
  await Promise.all([watch.look(), watch.look()]);
  expect(fake.requests.filter(({ execute }) => execute === "guest-info")).toHaveLength(1);
  frozen = true;
  await watch.look();
  expect(watch.said.agent).toMatchObject({ connected: true, frozen: true, version: "7.2" });
  expect(watch.said.nics).toHaveLength(1);
});

test("an answer that is too large, or makes no sense, is cut or left out", async () => {
  const many = Array.from({ length: 200 }, (_, index) => ({
    ...NIC,
    name: `n${index}`.padEnd(1_000, "x"),
    "ip-addresses": Array.from({ length: 40 }, () => ({
      ...{ "ip-address": "not one", "ip-address-type": "ipv4", prefix: -1 },
    })),
  }));
  const { agent } = agentThat({
    "guest-fsfreeze-status": "boiling",
    "guest-network-get-interfaces": many,
    "guest-get-osinfo": "no object",
    "guest-get-timezone": { offset: "far" },
  });
  const watch = new GuestWatch(() => [agent]);
  await watch.look();
  const { nics = [], agent: said } = watch.said;
  expect(said).toEqual({ connected: true, frozen: false, version: "7.2" });
  expect(nics).toHaveLength(64);
  expect(nics.every(({ name, addresses }) => name.length <= 256 && addresses.length === 0)).toBe(
    true,
  );
});

test("users and file systems are KubeVirt's lists, with sizes that are none as 0", async () => {
  const { agent } = agentThat({
    "guest-get-users": [{ user: "root", "login-time": 1.5 }],
    "guest-get-fsinfo": [
      {
        ...{ name: "vda1", mountpoint: "/", type: "ext4", "used-bytes": -5, "total-bytes": 9 },
        disk: [{ serial: "root", "bus-type": "virtio", unit: 0 }],
      },
    ],
    "guest-fsfreeze-status": "thawed",
  });
  const users = { items: [{ userName: "root", loginTime: 1.5 }] };
  const disk = [{ serial: "root", busType: "virtio" }];
  const root = { diskName: "vda1", mountPoint: "/", fileSystemType: "ext4" };
  const fileSystems = { items: [{ ...root, usedBytes: 0, totalBytes: 9, disk }] };
  expect(await usersOf(agent)).toEqual(users);
  expect(await fileSystemsOf(agent)).toEqual(fileSystems);
  expect(await osInfoOf(agent)).toEqual({
    guestAgentVersion: "7.2",
    supportedCommands: [{ name: "guest-info", enabled: true }],
    fsFreezeStatus: "thawed",
    userList: users.items,
    fsInfo: { disks: fileSystems.items },
  });
});

function nested(depth: number): unknown {
  let value: unknown = "deep";
  for (let at = 0; at < depth; at += 1) value = [{ name: value }];
  return value;
}

/** What an agent that a stranger has written may answer, whatever it was asked. */
const HOSTILE: readonly (readonly [string, unknown])[] = [
  ["nothing", null],
  ["a number", -1e308],
  ["a text of a megabyte", "x".repeat(1 << 20)],
  ["a list without end", Array.from({ length: 20_000 }, () => ({ name: "n", version: 7 }))],
  ["lists in lists", nested(2_000)],
  ["names of objects' own parts", { __proto__: { version: "8" }, constructor: 1, toString: [] }],
  ["texts that are numbers", { version: 7, "host-name": 1, offset: "1", frozen: "yes" }],
];

test.each(HOSTILE)("a guest that answers %s is heard without harm", async (_, answer) => {
  const names = ["guest-info", "guest-fsfreeze-status", "guest-network-get-interfaces"];
  const more = ["guest-get-osinfo", "guest-get-host-name", "guest-get-timezone"];
  const lists = ["guest-get-users", "guest-get-fsinfo", "guest-get-load"];
  const says = Object.fromEntries([...names, ...more, ...lists].map((name) => [name, answer]));
  const { agent } = agentThat(says);
  const watch = new GuestWatch(() => [agent]);
  await watch.look();
  expect(JSON.stringify(watch.said).length).toBeLessThan(64 * 1024);
  // With a version that is none there is nobody to believe.
  expect(watch.said).toEqual({ agent: { connected: false, frozen: false }, nics: undefined });
  for (const question of [osInfoOf, usersOf, fileSystemsOf]) {
    const told = await question(agent).catch((cause: unknown) => cause);
    // What is nested too deeply is not read at all.
    expect(["malformed", "unavailable"]).toContain((told as TrineError).kind);
  }
});

test("who speaks for a guest: the first that answers, and the other when that falls silent", async () => {
  const first = agentThat({ "guest-fsfreeze-status": "thawed" });
  const second = agentThat({
    "guest-fsfreeze-status": "thawed",
    "guest-info": { ...INFO, version: "ours" },
  });
  const life = new AbortController();
  const silent = new GuestAgent(new FakeGuestAgent({}), { signal: life.signal });
  life.abort();
  let voices = [silent, second.agent];
  const watch = new GuestWatch(() => voices);
  expect(await watch.voice()).toBe(second.agent);
  expect(watch.said.agent).toMatchObject({ connected: true, version: "ours" });
  voices = [first.agent];
  await watch.look();
  expect(watch.said.agent.version).toBe("7.2");
  voices = [];
  await expect(watch.voice()).rejects.toMatchObject({ kind: "wrongState" });
});
