// What a machine has over the link of our agent, and what only Debian's kernel for every machine can: volumes by 9p, and
// memory that grows.
import { chmod, lchown, mkdir, readFile, rename, stat, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pollUntil } from "@trine/base";
import { DIST, genericTinyGuestImage } from "@trine/testkit";
import type { RunningPod } from "@trine/testkit";
import { afterAll, beforeAll, expect, test } from "vitest";
import { PodOfMany } from "./mixed-pod.ts";
import { BOOT_MS, NodeUnderTest, READY } from "./node-under-test.ts";

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
};
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
  "9p: volumes are where the container says, live, read-only where said, and come again when the agent does; memory grows",
  async () => {
    const pod = await PodOfMany.make(at.node, { name: "link", annotations: ANNOTATIONS });
    const machine = await pod.start({ name: "machine", image, mounts: mounts() });
    await at.node.untilOutput(machine, READY, 2 * BOOT_MS);
    const sh = async (script: string): Promise<string> => (await pod.exec(machine, script)).out;
    expect(await sh(BOOTHOOK)).toBe("");

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

    await at.node.killTrined();
    await at.node.startTrined();
    expect(await sh("cat /data/there")).toBe("from the machine\n");

    await grows(machine, sh);
    // As systemd does, where there is one.
    const again = "setsid /run/trine/agent/trine-agent --machine --shares /run/trine/agent/shares";
    await sh(`rm /run/trine/agent/shares.told; (sleep 1; exec ${again}) >/dev/null 2>&1 &
      killall -KILL trine-agent`);
    await pollUntil("the volumes come again", { ms: BOOT_MS, everyMs: 500 }, async () =>
      (await sh("cat /run/trine/agent/shares.told && cat /data/there")) === "from the machine\n"
        ? true
        : undefined,
    );
    expect(await sh("grep -c trine-shares /proc/mounts")).toBe(`${mounts().length + 1}\n`);
    await pod.remove();
  },
  6 * BOOT_MS,
);

/** By an in-place resize of the pod, seen by the guest's own kernel. */
async function grows(
  { containerId }: RunningPod,
  sh: (script: string) => Promise<string>,
): Promise<void> {
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
