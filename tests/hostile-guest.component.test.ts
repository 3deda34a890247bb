// A guest that does all it can to the host's side of its devices, while its neighbour is served as ever.
import { readFile, readdir, readlink } from "node:fs/promises";
import { setTimeout as later } from "node:timers/promises";
import { pollUntil, withDeadline } from "@trine/base";
import { type RunningPod, runCommand } from "@trine/testkit";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { NodeUnderTest, rssMiB, statusField } from "./node-under-test.ts";

/** A neighbour's exec and the daemon's readiness, however hard the other guest tries. */
const NEIGHBOUR_MS = 8_000;
/** What a flood may cost the daemon beyond what it had; a line of the agent may be 48 MiB by itself. */
const GROWTH_MIB = 200;
const FLOOD_MS = 8_000;

describe("a hostile guest", () => {
  let at: NodeUnderTest;
  let foe: RunningPod;
  let friend: RunningPod;

  beforeAll(async () => {
    at = await NodeUnderTest.start("1.6");
    friend = await at.booted("friend");
    foe = await at.booted("foe", { tty: true, stdin: true });
  }, 1_800_000);

  afterAll(() => at.end());

  /** Types on the foe's console: works whatever became of its agent. */
  async function type(line: string): Promise<void> {
    const { containerId } = foe;
    const session = await at.node.containerd.cri.attach({
      containerId,
      tty: true,
      stdin: true,
      stdout: true,
    });
    session.stdout?.resume();
    session.stdin?.write(`${line}\n`);
    const typed = line.slice(0, 20);
    await at.node.untilOutput(foe, typed);
    session.close();
  }

  /** The neighbour is served and the daemon ready, again and again until `ms` have passed. */
  async function expectNeighbourServed(ms: number): Promise<void> {
    const end = performance.now() + ms;
    do {
      const answer = await withDeadline("the neighbour", NEIGHBOUR_MS, at.sh(friend, "echo here"));
      expect(answer).toMatchObject({ exitCode: 0, stdout: "here\n" });
      expect(await at.isReady()).toBe(true);
      await later(200);
    } while (performance.now() < end);
  }

  async function nft(pod: RunningPod, ...args: string[]): Promise<string> {
    const { shim } = await at.view(pod);
    return runCommand("nsenter", [`--net=/proc/${shim.pid}/ns/net`, "nft", ...args]);
  }

  async function counter(pod: RunningPod, name: string): Promise<number> {
    const text = await nft(pod, "list", "counter", "netdev", "trine", name);
    return Number(/packets (\d+)/.exec(text)?.[1] ?? Number.NaN);
  }

  test("that floods its console loses nothing and harms nobody", async () => {
    const before = await rssMiB(at.trinedPid);
    await type("flood 2; echo flood-$((1+1))-over");
    await expectNeighbourServed(FLOOD_MS);
    await at.node.untilOutput(foe, "flood-2-over", 120_000);
    const spool = (await at.view(foe)).machine?.consoleLog ?? "";
    const lines = [...(await readFile(spool, "utf8")).matchAll(/^FLOOD (\d{10}) /gm)];
    expect(lines.map((match) => Number(match[1]))).toEqual(
      Array.from({ length: 2 * 16_384 }, (_, i) => i),
    );
    expect((await rssMiB(at.trinedPid)) - before).toBeLessThan(GROWTH_MIB);
  });

  test("that spoofs its address reaches nobody and is counted", async () => {
    const before = await counter(foe, "spoofed");
    const stolen = friend.ip.replace(/\d+$/, "250");
    const script =
      `ip addr add ${stolen}/24 dev eth0; ping -c 3 -W 1 -I ${stolen} ${friend.ip} >/tmp/ping 2>&1;` +
      ` status=$?; cat /tmp/ping; ip addr del ${stolen}/24 dev eth0; exit $status`;
    const answer = await at.sh(foe, script);
    expect(answer.exitCode).not.toBe(0);
    expect(answer.stdout).toMatch(/100% packet loss/);
    expect(await counter(foe, "spoofed")).toBeGreaterThan(before);
    // Its own address still works: the rule, not the wire, stopped it.
    const honest = await at.sh(foe, `ping -c 2 -W 2 ${friend.ip}`);
    expect(honest.exitCode).toBe(0);
  });

  test("that takes its neighbour's address or hardware address gets none of its traffic", async () => {
    const before = await counter(foe, "spoofed");
    const other = "02:00:00:00:00:99";
    const script =
      `ip addr add ${friend.ip}/32 dev eth0; arping -c 2 -U -I eth0 ${friend.ip} >/dev/null 2>&1;` +
      ` ip addr del ${friend.ip}/32 dev eth0; own=$(cat /sys/class/net/eth0/address);` +
      ` ip link set eth0 down; ip link set eth0 address ${other}; ip link set eth0 up;` +
      ` ping -c 2 -W 1 ${friend.ip} >/dev/null 2>&1; ip link set eth0 down;` +
      " ip link set eth0 address $own; ip link set eth0 up; sleep 1; udhcpc -i eth0 -n -q -t 5" +
      " -s /etc/udhcpc.script >/tmp/dhcp 2>&1; ip -4 -o addr show dev eth0";
    const answer = await at.sh(foe, script);
    expect(await counter(foe, "spoofed")).toBeGreaterThan(before);
    expect(answer.stdout).toContain(foe.ip);
    await expectNeighbourServed(0);
  });

  test("that floods DHCP is answered no worse after", async () => {
    const { shim } = await at.view(foe);
    const before = await rssMiB(shim.pid);
    const ask = "udhcpc -i eth0 -n -q -f -t 20 -T 0 -A 0 -s /bin/true >/dev/null 2>&1";
    const loop = `end=$(($(date +%s)+10)); while [ $(date +%s) -lt $end ]; do ${ask}; done`;
    await type(`(${loop}) & (${loop}) & (${loop}) & wait; echo asked-$((1+1))-over`);
    await expectNeighbourServed(FLOOD_MS);
    await at.node.untilOutput(foe, "asked-2-over");
    const lease = await at.sh(foe, "udhcpc -i eth0 -n -q -t 5 -T 2 -s /etc/udhcpc.script 2>&1");
    expect(lease).toMatchObject({ exitCode: 0 });
    expect(lease.stdout).toContain(foe.ip);
    expect((await rssMiB(shim.pid)) - before).toBeLessThan(8);
  });

  test("whose pod is flooded with port-forward connections still answers", async () => {
    const forward = await at.node.containerd.cri.portForward(foe.podSandboxId);
    const all = Array.from({ length: 300 }, () => {
      const connection = forward.connect(8080);
      connection.on("error", () => undefined); // a refusal is an answer too
      connection.resume();
      return connection;
    });
    await expectNeighbourServed(3_000);
    for (const connection of all) connection.destroy();
    forward.close();
    const again = await at.node.containerd.cri.portForward(foe.podSandboxId);
    const text = await pollUntil(
      "an answer on port 8080",
      { ms: 60_000, everyMs: 500 },
      async () => {
        const connection = again.connect(8080);
        connection.end("GET / HTTP/1.0\r\n\r\n");
        const bytes = await withDeadline("GET", 10_000, connection.toArray()).catch(() => []);
        const said = Buffer.concat(bytes as Buffer[]).toString();
        return said.includes("foe") ? said : undefined;
      },
    );
    expect(text).toContain("foe");
    again.close();
  });

  test("that floods the agent's channel cannot be entered, and costs the daemon little", async () => {
    const before = await rssMiB(at.trinedPid);
    const port = "/dev/virtio-ports/org.qemu.guest_agent.0";
    await type("killall qemu-ga; sleep 1; echo agent-$((1+1))-gone");
    await at.node.untilOutput(foe, "agent-2-gone");
    const bad = '{"return":[[[[{"id":"';
    await type(
      `(head -c 2000000 /dev/urandom; yes '${bad}' | head -n 100000; yes '{"return":{},"id":"x"}' |` +
        ` head -n 100000; yes '"' | tr -d '\\n') >${port} 2>/dev/null & echo flood-$((2+2))-on`,
    );
    await at.node.untilOutput(foe, "flood-4-on");
    const refused = at.sh(foe, "true");
    await expect(withDeadline("the refusal", 40_000, refused)).rejects.toThrow(
      /guest agent did not answer|agent/,
    );
    await expectNeighbourServed(FLOOD_MS);
    expect((await rssMiB(at.trinedPid)) - before).toBeLessThan(GROWTH_MIB);
  });
});

describe("a machine's process", () => {
  let at: NodeUnderTest;
  let pod: RunningPod;
  let pid: number;

  beforeAll(async () => {
    at = await NodeUnderTest.start("1.6");
    pod = await at.booted("jailed");
    pid = await at.vmm(pod);
  }, 1_800_000);

  afterAll(() => at.end());

  test("runs as a user of its own, without capabilities, unable to gain any, filtered", async () => {
    const uids = (await statusField(pid, "Uid")).split(/\s+/).map(Number);
    expect(new Set(uids).size).toBe(1);
    expect(uids[0]).toBeGreaterThanOrEqual(1_900_000_000);
    const gids = (await statusField(pid, "Gid")).split(/\s+/).map(Number);
    expect(new Set(gids)).toEqual(new Set([uids[0]]));
    expect(await statusField(pid, "Groups")).toBe("");
    for (const set of ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"]) {
      expect([set, await statusField(pid, set)]).toEqual([set, "0000000000000000"]);
    }
    expect(await statusField(pid, "NoNewPrivs")).toBe("1");
    expect(await statusField(pid, "Seccomp")).toBe("2");
  });

  test("sees a root of its own: what it needs, read-only, and its one directory", async () => {
    const mounts = (await readFile(`/proc/${pid}/mountinfo`, "utf8"))
      .trim()
      .split("\n")
      .map((line) => {
        const fields = line.split(" ");
        return { at: fields[4] ?? "", options: (fields[5] ?? "").split(",") };
      });
    const writable = mounts.filter(({ options }) => !options.includes("ro")).map((m) => m.at);
    expect(writable).toEqual(["/dev/null", "/machine"]);
    for (const { at: place, options } of mounts) {
      expect([place, options]).toEqual([place, expect.arrayContaining(["nosuid"])]);
    }
    const top = await readdir(`/proc/${pid}/root/`);
    for (const name of ["proc", "sys", "etc", "root", "home", "run", "var", "tmp", "bin", "boot"]) {
      expect(top).not.toContain(name);
    }
    expect(top).toContain("machine");
    expect((await readdir(`/proc/${pid}/root/machine`)).sort()).toEqual(["qmp.sock"]);
    expect(await readlink(`/proc/${pid}/cwd`)).toMatch(/^\/(machine)?$/);
  });

  test("holds only the descriptors it was planned to have", async () => {
    const podDir = await at.podDir(pod);
    const links = await Promise.all(
      (await readdir(`/proc/${pid}/fd`)).map((fd) => readlink(`/proc/${pid}/fd/${fd}`)),
    );
    const allowed = [
      /^socket:\[\d+\]$/,
      /^anon_inode:\[(eventfd|signalfd|eventpoll|timerfd)\]$/,
      /^\/dev\/net\/tun$/,
      /^\/dev\/null$/,
      /^pipe:\[\d+\]$/,
      /\/\.trine\/root\.qcow2$/,
      /\/disk\/[^/]+\.qcow2$/,
      new RegExp(`${podDir}/(seed\\.iso|vmm\\.log)$`),
    ];
    const odd = links.filter((link) => !allowed.some((pattern) => pattern.test(link)));
    expect(odd).toEqual([]);
    expect(links.filter((link) => link === "/dev/net/tun")).toHaveLength(1);
  });

  test("has no network of its own but the tap", async () => {
    const devices = await readFile(`/proc/${pid}/net/dev`, "utf8");
    const names = devices
      .split("\n")
      .slice(2)
      .map((line) => line.split(":")[0]?.trim() ?? "");
    expect(names.filter((name) => name !== "")).toEqual(["lo"]);
  });

  test("sits in the pod's cgroup in every hierarchy, with its shim", async () => {
    const { shim } = await at.view(pod);
    const groups = async (of: number): Promise<string[]> =>
      (await readFile(`/proc/${of}/cgroup`, "utf8")).trim().split("\n").sort();
    const mine = await groups(pid);
    expect(mine).toEqual(await groups(shim.pid));
    const limits = mine.filter((line) => !/^\d+:(name=[^:]*|):/.test(line));
    const parent = at.node.containerd.cgroupParent;
    for (const line of limits) expect(line).toContain(`${parent}/pod`);
    for (const line of mine) expect(line).not.toContain(pod.containerId);
  });
});
