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
  const watch = new GuestWatch(() => (isThere ? agent : undefined));
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
  const watch = new GuestWatch(() => agent);
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
  const watch = new GuestWatch(() => agent);
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
