// What a machine has over the link of our agent, and what only Debian's kernel for every machine can: volumes by 9p, ports of
// a container at its localhost, and memory that grows.
import { chmod, lchown, mkdir, readFile, rename, stat, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { errnoOf, pollUntil } from "@trine/base";
import { DIST, busyboxImage, genericTinyGuestImage } from "@trine/testkit";
import type { RunningPod } from "@trine/testkit";
import { afterAll, beforeAll, expect, test } from "vitest";
import { PodOfMany } from "./mixed-pod.ts";
import { BOOT_MS, NodeUnderTest, READY, statusField } from "./node-under-test.ts";

const MIB = 1024 * 1024;
const CONFIG = [
  `machines: { agent: ${join(DIST, "bin/trine-agent")} }`,
  `microvms: { fileServer: ${join(DIST, "bin/trine-p9")} }`,
].join("\n");
const ANNOTATIONS = {
  "trine.dev/memory": "192Mi",
  "trine.dev/max-memory": "448Mi",
  "trine.dev/agent": "on",
  "trine.dev/shares": "9p",
  "trine.dev/machine": "machine",
  "trine.dev/ports": "web=9090,web=9091",
};
/** On its own loopback, of both families; one port beside those that are given to it. */
const WEB = [
  "mkdir /www; echo from-web >/www/index.html",
  "for at in 127.0.0.1:9090 [::1]:9090 9091 9092; do httpd -p $at -h /www; done",
  "echo web is up; exec sleep 100000",
].join("\n");
/** Before the agent is there. */
const OWN_SERVICE =
  "ip link set lo up; mkdir /own; echo from-guest >/own/index.html; httpd -p 127.0.0.1:9091 -h /own";
/** The seed's own script, as cloud-init runs it, and what a system with udev and systemd has done before. */
const BOOTHOOK = [
  "modprobe virtio_mem; mkdir -p /seed /dev/disk/by-label",
  "mount -t cgroup2 cgroup2 /sys/fs/cgroup",
  "ln -s /dev/vdb /dev/disk/by-label/cidata",
  "mount -t iso9660 -o ro /dev/vdb /seed && sh /seed/vendor-data; umount /seed",
  "cat /run/trine/agent/shares.told; dmesg | grep trine:",
].join("\n");
const TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount";

let at: NodeUnderTest;
let image: string;
let busybox: string;
let dir: string;

/** As kubelet writes a ConfigMap: files are links into ..data, which is replaced by rename. */
async function publish(volume: string, version: string, text: string): Promise<void> {
  await mkdir(join(volume, version), { recursive: true });
  await writeFile(join(volume, version, "key"), text);
  await symlink(version, join(volume, "..data_tmp"));
  await rename(join(volume, "..data_tmp"), join(volume, "..data"));
}

beforeAll(async () => {
  at = await NodeUnderTest.start("2.4", { config: CONFIG });
  const generic = await genericTinyGuestImage();
  await at.node.containerd.importImage(generic);
  image = generic.name;
  const plain = await busyboxImage();
  await at.node.containerd.importImage(plain);
  busybox = plain.name;
  dir = join(at.node.dir, "volumes");
  await mkdir(join(dir, "data/sub"), { recursive: true });
  await mkdir(join(dir, "secret"));
  await publish(join(dir, "config"), "..1", "one\n");
  await symlink("..data/key", join(dir, "config/key"));
  await writeFile(join(dir, "secret/token"), "hidden\n");
  await chmod(join(dir, "secret/token"), 0o400);
  await writeFile(join(dir, "data/sub/file"), "in sub\n");
  await lchown(join(dir, "data/sub/file"), 1000, 1000);
}, 1_800_000);

afterAll(() => at.end());

function mounts(): { containerPath: string; hostPath: string; readonly?: boolean }[] {
  return [
    { containerPath: "/data", hostPath: join(dir, "data") },
    { containerPath: "/etc/app", hostPath: join(dir, "config"), readonly: true },
    { containerPath: TOKEN, hostPath: join(dir, "secret"), readonly: true },
    { containerPath: "/opt/it's one", hostPath: join(dir, "data/sub/file") },
  ];
}

test(
  "volumes by 9p and a container's ports at localhost: live, as they were given, and there again when agent, server or container start anew; memory grows",
  async () => {
    const pod = await PodOfMany.make(at.node, { name: "link", annotations: ANNOTATIONS });
    const machine = await pod.start({ name: "machine", image, mounts: mounts() });
    await at.node.untilOutput(machine, READY, 2 * BOOT_MS);
    const sh: Shell = async (script) => (await pod.exec(machine, script)).out;
    expect(await sh(OWN_SERVICE)).toBe("");
    expect(await sh(BOOTHOOK)).toBe("");
    const web = await webIn(pod, 0);
    await reachesPorts(sh);

    expect(await sh(`cat /data/sub/file '/opt/it'"'"'s one' /etc/app/key ${TOKEN}/token`)).toBe(
      "in sub\nin sub\none\nhidden\n",
    );
    expect(await sh(`stat -c '%a %u %g' /data/sub/file ${TOKEN}/token`)).toBe(
      "644 1000 1000\n400 0 0\n",
    );
    expect(await sh(`touch ${TOKEN}/x /etc/app/x 2>&1`)).toMatch(/Read-only.*\n.*Read-only/);
    await sh("echo from the machine >/data/there; chown 1234:1234 /data/there; sync");
    expect(await readFile(join(dir, "data/there"), "utf8")).toBe("from the machine\n");
    expect((await stat(join(dir, "data/there"))).uid).toBe(1234);
    await publish(join(dir, "config"), "..2", "two\n");
    expect(await sh("cat /etc/app/key")).toBe("two\n");

    await withoutDaemon(sh);
    expect(await sh("cat /data/there")).toBe("from the machine\n");
    await servedAgain(machine, sh);
    await pod.removeContainer(web);
    expect(await sh(`${get("127.0.0.1:9090")} || echo nobody`)).toMatch(/nobody/);
    await webIn(pod, 1);
    await reachesPorts(sh);

    await grows(machine, sh);
    // As systemd does, where there is one.
    const again =
      "setsid /run/trine/agent/trine-agent --machine --shares /run/trine/agent/shares --ports 9090,9091";
    await sh(`rm /run/trine/agent/shares.told; (sleep 1; exec ${again}) >/dev/null 2>&1 &
      killall -KILL trine-agent`);
    await pollUntil("the volumes come again", { ms: BOOT_MS, everyMs: 500 }, async () =>
      (await sh("cat /run/trine/agent/shares.told && cat /data/there")) === "from the machine\n"
        ? true
        : undefined,
    );
    expect(await sh(MOUNT_COUNT)).toBe(`${mounts().length + 1}\n`);
    await reachesPorts(sh);
    await pod.remove();
  },
  8 * BOOT_MS,
);

type Shell = (script: string) => Promise<string>;
const MOUNT_COUNT = "grep -c trine-shares /proc/mounts";

const get = (at: string): string => `wget -qO- http://${at}/ 2>&1`;

async function webIn(pod: PodOfMany, attempt: number): Promise<RunningPod> {
  const command = ["/bin/sh", "-c", WEB];
  const web = await pod.start({ name: "web", image: busybox, command, attempt });
  await at.node.untilOutput(web, "web is up", BOOT_MS);
  return web;
}

/** The container's, by either address; its own program's where that has the port; none that was not given. */
async function reachesPorts(sh: Shell): Promise<void> {
  expect(await sh(get("127.0.0.1:9090"))).toBe("from-web\n");
  expect(await sh(get("[::1]:9090"))).toBe("from-web\n");
  expect(await sh(get("127.0.0.1:9091"))).toBe("from-guest\n");
  expect(await sh(get("127.0.0.1:9092"))).toMatch(/refused/);
}

/** No exec but our agent's goes on without it: what the guest is to do is left to a volume. */
async function withoutDaemon(sh: Shell): Promise<void> {
  const wait = "until [ -e /data/go ]; do sleep 0.2; done";
  const fetch = `${get("127.0.0.1:9090")} >/data/new; mv /data/new /data/fetched`;
  await sh(`(${wait}; ${fetch}) </dev/null >/dev/null 2>&1 &`);
  await at.node.killTrined();
  await writeFile(join(dir, "data/go"), "");
  const fetched = await pollUntil("the guest has fetched it", { ms: BOOT_MS }, () =>
    readFile(join(dir, "data/fetched"), "utf8").catch(() => undefined),
  );
  expect(fetched).toBe("from-web\n");
  await at.node.startTrined();
}

/** When the agent has tried in vain to mount them anew: no bare directory may take what is meant for a volume. */
const WRITES_UNSERVED = `(until grep -q . /run/trine/agent/shares.told; do sleep 0.2; done
  for at in /data /etc/app; do echo lost >$at/lost && echo done || echo failed; done >/run/writes
  echo writes: $(cat /run/writes) >/dev/console) </dev/null >/dev/null 2>&1 &`;
/** What the guest's own file system has at the volumes' places. */
const UNDER_VOLUMES =
  "mkdir /under && mount --bind / /under && ls -A /under/data; umount /under && rmdir /under";

/** What serves the volumes is killed, with the daemon there and without. */
async function servedAgain(machine: RunningPod, sh: Shell): Promise<void> {
  for (const isAway of [false, true]) {
    const old = await serverOf(machine);
    if (isAway) {
      await sh(WRITES_UNSERVED);
      await at.node.killTrined();
    }
    process.kill(old ?? Number.NaN, "SIGKILL");
    if (isAway) {
      await at.node.untilOutput(machine, "writes: failed failed", BOOT_MS);
      await at.node.startTrined();
    }
    await pollUntil("another serves the volumes", { ms: BOOT_MS, everyMs: 100 }, async () => {
      const now = await serverOf(machine);
      return now === undefined || now === old ? undefined : true;
    });
    await pollUntil("the volumes are there again", { ms: BOOT_MS, everyMs: 500 }, async () =>
      (await sh("cat /data/there && cat /etc/app/key")) === "from the machine\ntwo\n"
        ? true
        : undefined,
    );
    expect(await sh(`${MOUNT_COUNT}; cat /run/trine/agent/shares.told`)).toBe(
      `${mounts().length + 1}\n`,
    );
  }
  expect(await sh(UNDER_VOLUMES)).toBe("");
}

/** Process id of what serves the volumes: a child of the shim, as the VMM is. */
async function serverOf(pod: RunningPod): Promise<number | undefined> {
  const { shim } = await at.view(pod);
  const children = await readFile(`/proc/${shim.pid}/task/${shim.pid}/children`, "utf8");
  for (const pid of children.trim().split(" ").map(Number)) {
    // One that has just ended is none that serves.
    const name = await statusField(pid, "Name").catch((cause: unknown) => {
      if (["ENOENT", "ESRCH"].includes(errnoOf(cause) ?? "")) return undefined;
      throw cause;
    });
    if (name === "trine-p9") return pid;
  }
  return undefined;
}

/** By an in-place resize of the pod, seen by the guest's own kernel. */
async function grows({ containerId }: RunningPod, sh: Shell): Promise<void> {
  const total = async (): Promise<number> =>
    Number(await sh("awk '/MemTotal/ { print $2 }' /proc/meminfo")) / 1024;
  const before = await total();
  const linux = { memoryLimitInBytes: BigInt(448 * MIB) };
  await at.runtime.updateContainerResources({ containerId, linux });
  expect(Math.round(await total()) - Math.round(before)).toBe(256);
}

test("9p without the agent is refused with the reason", async () => {
  const without = { ...ANNOTATIONS, "trine.dev/agent": "off" };
  await expect(PodOfMany.make(at.node, { name: "refused", annotations: without })).rejects.toThrow(
    /trine\.dev\/shares.*trine\.dev\/agent has to be on/,
  );
});
