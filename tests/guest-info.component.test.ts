// Trine's agent as a service of a whole machine's guest that boots: what it says of the guest, and file systems that stand still.
import { chmod, copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { fromBinary } from "@bufbuild/protobuf";
import { pollUntil, withDeadline } from "@trine/base";
import { AgentVoice } from "@trine/guest-link";
import type { AgentClient } from "@trine/guest-link";
import { ExitSchema } from "@trine/proto/agent";
import { DIST, microvmGuest, runCommand } from "@trine/testkit";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ANSWER_MS, BOOT_MS, BareGuest } from "./bare-guest.ts";
import type { HostLink } from "./host-link.ts";

const AN_HOUR_MS = 3_600_000;
const DISK_BYTES = 64 * 1024 * 1024;
const BUSYBOX = "/bin/busybox";
const AGENT = join(DIST, "bin/trine-agent");
/** The agent is started again when it has ended, as by a guest's own init. */
const INIT = `#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mkdir -p /data /etc /run /tmp /root
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
while read -r module; do insmod "$module"; done </etc/trine/modules
mount -t cgroup2 cgroup2 /sys/fs/cgroup
until mount -t ext4 /dev/vda /data; do sleep 0.1; done
hostname guest-1
printf 'ID=tiny\\nPRETTY_NAME="A tiny guest"\\n' >/etc/os-release
ln -s /usr/share/zoneinfo/Europe/Berlin /etc/localtime
ip address add 10.9.8.7/24 dev lo
ip link set lo up
while :; do /bin/trine-agent --machine; done
`;

let dir: string;
let guest: BareGuest;
let link: HostLink;
let agent: AgentClient;
let execs = 0;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-info-"));
  const { kernel, initrd: base, cmdline } = await microvmGuest({ init: BUSYBOX });
  const tree = join(dir, "tree");
  await mkdir(join(tree, "bin"), { recursive: true });
  await copyFile(BUSYBOX, join(tree, "bin/busybox"));
  await copyFile(AGENT, join(tree, "bin/trine-agent"));
  await writeFile(join(tree, "init"), INIT);
  await chmod(join(tree, "init"), 0o755);
  const added = join(dir, "added.cpio");
  const pack = 'find bin init | "$0" cpio -o -H newc >"$1"';
  await runCommand("sh", ["-c", pack, BUSYBOX, added], { cwd: tree });
  const initrd = join(dir, "initrd.cpio");
  await writeFile(initrd, Buffer.concat([await readFile(base), await readFile(added)]));
  await runCommand("truncate", ["-s", `${DISK_BYTES}`, join(dir, "data")]);
  await runCommand("mkfs.ext4", ["-q", join(dir, "data")]);
  const disks = [{ path: join(dir, "data"), serial: "DATA-1" }];
  guest = await BareGuest.boot({ kernel, initrd, cmdline }, disks);
  ({ link, agent } = guest);
}, 900_000);

afterAll(async () => {
  await guest[Symbol.asyncDispose]();
  await rm(dir, { recursive: true });
});

/** Status of a program in the guest. */
async function run(...args: string[]): Promise<number> {
  const of = { container: "machine", exec: `e${(execs += 1)}` };
  const process = { args, cwd: "/", env: ["PATH=/bin"], user: { uid: 0, gid: 0 } };
  await agent.createProcess({ ...of, process: Buffer.from(JSON.stringify(process)) });
  const exit = link.open(`exit/machine/${of.exec}`);
  await agent.startProcess(of);
  const ended = await withDeadline("its end", ANSWER_MS, buffer(exit));
  return fromBinary(ExitSchema, ended).status;
}

/** The kernel's word: what stands still cannot be made to stand still once more. */
async function standsStill(): Promise<boolean> {
  if ((await run("fsfreeze", "--freeze", "/data")) !== 0) return true;
  expect(await run("fsfreeze", "--unfreeze", "/data")).toBe(0);
  return false;
}

test("the guest says its names, addresses and disks", async () => {
  const voice = new AgentVoice(() => agent);
  expect(await voice.hostName()).toBe("guest-1");
  expect(await voice.osInfo()).toMatchObject({ id: "tiny", prettyName: "A tiny guest" });
  expect((await voice.timezone()).name).toBe("Europe/Berlin");
  const [lo] = await voice.networkInterfaces();
  expect(lo).toMatchObject({ name: "lo", mac: "00:00:00:00:00:00" });
  expect(lo?.addresses.map(({ address }) => address)).toContain("10.9.8.7");
  const [data] = await voice.fileSystems();
  expect(data).toMatchObject({
    ...{ diskName: "vda", mountPoint: "/data", type: "ext4" },
    disks: [{ serial: "DATA-1" }],
  });
  expect(data?.totalBytes).toBeGreaterThan(DISK_BYTES / 2);
  expect(data?.usedBytes).toBeLessThan(data?.totalBytes ?? 0);
  expect(await voice.users()).toEqual([]);
}, 120_000);

test("its file systems stand still until they are thawed, their time is over, or the agent ends", async () => {
  expect(await standsStill()).toBe(false);
  await agent.freeze(AN_HOUR_MS);
  await agent.freeze(AN_HOUR_MS);
  expect([(await agent.guestInfo()).frozen, await standsStill()]).toEqual([true, true]);
  await agent.thaw();
  await agent.thaw();
  expect([(await agent.guestInfo()).frozen, await standsStill()]).toEqual([false, false]);
  // What another has frozen, who never returns, is thawed too, and that is said.
  expect(await run("fsfreeze", "--freeze", "/data")).toBe(0);
  expect(await agent.thaw()).toBe("all");
  expect(await standsStill()).toBe(false);

  await agent.freeze(AN_HOUR_MS);
  // Its time begins anew, and is over.
  await agent.freeze(1);
  await pollUntil("thawed", { ms: ANSWER_MS, everyMs: 100 }, async () =>
    (await agent.guestInfo()).frozen ? undefined : true,
  );
  expect(await standsStill()).toBe(false);

  await agent.freeze(AN_HOUR_MS);
  const of = { container: "machine", exec: "end" };
  const process = { args: ["sh", "-c", "kill -9 $PPID"], cwd: "/", env: ["PATH=/bin"] };
  const bytes = Buffer.from(JSON.stringify({ ...process, user: { uid: 0, gid: 0 } }));
  await agent.createProcess({ ...of, process: bytes });
  await agent.startProcess(of).catch(() => undefined); // it may end before it answers
  // What comes while nobody in the guest has the port is lost, and the one that is to end may answer once more: that it is frozen.
  await pollUntil("the next agent", { ms: BOOT_MS, everyMs: 100 }, async () => {
    try {
      await link.reset(2_000);
      return (await agent.guestInfo()).frozen ? undefined : true;
    } catch {
      return undefined;
    }
  });
  expect(await standsStill()).toBe(false);
  await expect(agent.freeze(0)).rejects.toMatchObject({ kind: "invalid" });
}, 300_000);
