// Volumes of a pod in its machine: directories and files by virtiofs, beside a container that has them too.
import {
  chmod,
  lchown,
  mkdir,
  readFile,
  readdir,
  rename,
  stat,
  symlink,
  writeFile,
} from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { pollUntil } from "@trine/base";
import { busyboxImage, debianGuestImage } from "@trine/testkit";
import type { RunningPod } from "@trine/testkit";
import { afterAll, beforeAll, expect, test } from "vitest";
import { PodOfMany } from "./mixed-pod.ts";
import { BOOT_MS, NodeUnderTest, READY, statusField } from "./node-under-test.ts";

/** CHOWN, DAC_OVERRIDE, FOWNER, FSETID, SETGID, SETUID, SETFCAP. */
const SERVER_CAPABILITIES = 0x8000_00dbn;
/** The seed's own script, as cloud-init runs it. */
const MOUNT =
  "mkdir -p /seed; mount -t iso9660 -o ro /dev/vdb /seed && sh /seed/vendor-data; dmesg | grep trine:";
const MEMORY = { "trine.dev/memory": "128Mi" };

let at: NodeUnderTest;
let dir: string;
let busybox: string;

/** As kubelet writes a ConfigMap: files are links into ..data, which is replaced by rename. */
async function publish(volume: string, version: string, text: string): Promise<void> {
  await mkdir(join(volume, version), { recursive: true });
  await writeFile(join(volume, version, "key"), text);
  await symlink(version, join(volume, "..data_tmp"));
  await rename(join(volume, "..data_tmp"), join(volume, "..data"));
}

beforeAll(async () => {
  at = await NodeUnderTest.start("2.4");
  const image = await busyboxImage();
  await at.node.containerd.importImage(image);
  busybox = image.name;
  dir = join(at.node.dir, "volumes");
  await mkdir(join(dir, "data/sub"), { recursive: true });
  await mkdir(join(dir, "secret"));
  await publish(join(dir, "config"), "..1", "one\n");
  await symlink("..data/key", join(dir, "config/key"));
  await writeFile(join(dir, "secret/token"), "hidden\n");
  await chmod(join(dir, "secret/token"), 0o400);
  await writeFile(join(dir, "data/sub/file"), "in sub\n");
  await writeFile(join(dir, "data/owned"), "of 1000\n");
  await lchown(join(dir, "data/owned"), 1000, 1000);
}, 1_800_000);

afterAll(() => at.end());

const TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount";

function mounts(): { containerPath: string; hostPath: string; readonly?: boolean }[] {
  return [
    { containerPath: "/data", hostPath: join(dir, "data") },
    { containerPath: "/etc/app", hostPath: join(dir, "config"), readonly: true },
    { containerPath: TOKEN, hostPath: join(dir, "secret"), readonly: true },
    { containerPath: "/opt/it's one", hostPath: join(dir, "data/sub/file") },
    { containerPath: "/etc/hosts", hostPath: join(dir, "data/owned") },
  ];
}

/** Process ids of what serves the volumes: children of the shim, as the VMM is. */
async function serversOf(pod: Pick<RunningPod, "podSandboxId">): Promise<number[]> {
  const { shim } = await at.view(pod);
  const children = await readFile(`/proc/${shim.pid}/task/${shim.pid}/children`, "utf8");
  const pids = children.trim().split(" ").map(Number);
  const names = await Promise.all(pids.map((pid) => statusField(pid, "Name")));
  return pids.filter((_, index) => names[index] === "virtiofsd");
}

async function serverOf(pod: Pick<RunningPod, "podSandboxId">): Promise<number> {
  const [server] = await serversOf(pod);
  if (server === undefined) throw new Error("nothing serves the volumes");
  return server;
}

async function started(pod: PodOfMany, attempt: number): Promise<RunningPod> {
  const machine = await pod.start({ name: "machine", image: at.tiny, attempt, mounts: mounts() });
  await at.node.untilOutput(machine, READY, 2 * BOOT_MS);
  expect(await pod.exec(machine, MOUNT)).toEqual({ code: 1, out: "" });
  return machine;
}

test(
  "volumes are where the container says, shared both ways with others, live, and read-only where said",
  async () => {
    const pod = await PodOfMany.make(at.node, { name: "shares", annotations: MEMORY });
    const side = await pod.start({
      name: "side",
      image: busybox,
      command: ["sleep", "100000"],
      mounts: mounts(),
    });
    const first = await started(pod, 0);
    const sh = async (script: string): Promise<string> => (await pod.exec(first, script)).out;
    const beside = async (script: string): Promise<string> => (await pod.exec(side, script)).out;

    expect(await sh(`cat /data/sub/file '/opt/it'"'"'s one' /etc/app/key ${TOKEN}/token`)).toBe(
      "in sub\nin sub\none\nhidden\n",
    );
    // The machine's own.
    expect(await sh("cat /etc/hosts 2>&1")).not.toContain("of 1000");
    expect(await sh(`stat -c '%a %u %g' /data/owned ${TOKEN}/token`)).toBe(
      "644 1000 1000\n400 0 0\n",
    );
    expect(await sh(`touch ${TOKEN}/x /etc/app/x 2>&1`)).toMatch(/Read-only.*\n.*Read-only/);

    await sh("echo from the machine >/data/there; chown 1234:1234 /data/there; sync");
    expect(await beside("cat /data/there; stat -c %u /data/there")).toBe(
      "from the machine\n1234\n",
    );
    await beside("echo from beside >/data/back; mv /data/there /data/gone");
    expect(await sh("cat /data/back /data/gone; ls /data")).toBe(
      "from beside\nfrom the machine\nback\ngone\nowned\nsub\n",
    );

    await publish(join(dir, "config"), "..2", "two\n");
    await pollUntil("the guest sees the new version", { ms: 30_000, everyMs: 200 }, async () =>
      (await sh("cat /etc/app/key")) === "two\n" ? true : undefined,
    );

    const server = await serverOf(first);
    expect(BigInt(`0x${await statusField(server, "CapEff")}`)).toBe(SERVER_CAPABILITIES);
    expect(await statusField(server, "NoNewPrivs")).toBe("1");
    expect(await readdir(`/proc/${server}/root`)).toEqual([
      ...["data", "etc-app", "opt-it_s_one", "var-run-secrets-kubernetes.io-serviceaccount"],
    ]);
    await at.node.killTrined();
    await at.node.startTrined();
    expect(await sh("cat /data/gone; echo later >/data/later")).toBe("from the machine\n");
    expect(await readFile(join(dir, "data/later"), "utf8")).toBe("later\n");

    await pod.removeContainer(first);
    const second = await started(pod, 1);
    expect((await pod.exec(second, "cat /data/later")).out).toBe("later\n");
    expect((await stat(join(dir, "data/later"))).uid).toBe(0);
    await pod.remove();
  },
  8 * BOOT_MS,
);

test(
  "a volume with a tag is a file system of its own, mounted wherever the guest likes",
  async () => {
    const tags = { config: "/etc/app", "my.data": "/data" };
    const annotations = { ...MEMORY, "trine.dev/share-tags": JSON.stringify(tags) };
    const pod = await PodOfMany.make(at.node, { name: "tags", annotations });
    const machine = await started(pod, 0);
    const sh = async (script: string): Promise<string> => (await pod.exec(machine, script)).out;
    await sh("mkdir /a /b; mount -t virtiofs config /a; mount -t virtiofs my.data /b");
    expect(await sh("cat /a/key /b/sub/file; ls /a; cat /etc/app/key /data/sub/file")).toMatch(
      /^(one|two|three)\nin sub\nkey\n\1\nin sub\n$/,
    );
    // The others are where they were.
    expect(await sh(`cat '/opt/it'"'"'s one' ${TOKEN}/token`)).toBe("in sub\nhidden\n");
    expect(await sh("touch /a/x 2>&1; mount -o remount,rw /a; touch /a/x 2>&1")).toMatch(
      /Read-only.*\n.*Read-only/,
    );
    await sh("echo by tag >/b/tagged; chown 1234 /b/tagged; sync");
    expect(await readFile(join(dir, "data/tagged"), "utf8")).toBe("by tag\n");
    expect((await stat(join(dir, "data/tagged"))).uid).toBe(1234);
    await publish(join(dir, "config"), "..3", "three\n");
    await pollUntil("the guest sees the new version", { ms: 30_000, everyMs: 200 }, async () =>
      (await sh("cat /a/key")) === "three\n" ? true : undefined,
    );

    const servers = await serversOf(machine);
    const roots = await Promise.all(servers.map((pid) => readdir(`/proc/${pid}/root`)));
    // The outermost first, as they are mounted in each other.
    expect(roots.slice(1)).toEqual([
      await readdir(join(dir, "data")),
      await readdir(join(dir, "config")),
    ]);
    await at.node.killTrined();
    await at.node.startTrined();
    expect(await sh("cat /b/tagged; echo later >/b/later")).toBe("by tag\n");
    expect(await readFile(join(dir, "data/later"), "utf8")).toBe("later\n");
    await pod.remove();
  },
  6 * BOOT_MS,
);

test("what no guest can be given is refused with the reason, and nothing is left", async () => {
  const socket = join(dir, "a.sock");
  const server = createServer().listen(socket);
  const pod = await PodOfMany.make(at.node, { name: "refused", annotations: MEMORY });
  const refused = (hostPath: string, attempt: number): Promise<RunningPod> => {
    const volume = [{ containerPath: "/v", hostPath }];
    return pod.start({ name: "machine", image: at.tiny, attempt, mounts: volume });
  };
  await expect(refused(socket, 0)).rejects.toThrow(
    /a\.sock is a socket, pipe or device of the node/,
  );
  await expect(refused("/dev/null", 1)).rejects.toThrow(/\/dev\/null is a socket, pipe or device/);
  await pod.remove();
  server.close();
});

test(
  "cloud-init mounts them before it does anything else",
  async () => {
    const image = await debianGuestImage();
    await at.node.containerd.importImage(image);
    const userData = "#cloud-config\nbootcmd: [[cp, /etc/app/key, /root/seen]]\n";
    const machine = await at.node.run({
      name: "debian",
      image: image.name,
      annotations: { "trine.dev/memory": "512Mi", "trine.dev/user-data": userData },
      mounts: mounts(),
    });
    await at.node.untilOutput(machine, "DEBIAN-GUEST READY", 5 * BOOT_MS);
    const script = `cat /root/seen '/opt/it'"'"'s one' ${TOKEN}/token; touch /etc/app/x; echo by-debian >/data/debian`;
    const { stdout, stderr } = await at.sh(machine, script);
    // As far as the tests before have changed it.
    expect(stdout).toMatch(/^(one|two|three)\nin sub\nhidden\n$/);
    expect(stderr).toContain("Read-only file system");
    expect(await readFile(join(dir, "data/debian"), "utf8")).toBe("by-debian\n");
    await at.node.remove(machine);
  },
  6 * BOOT_MS,
);

test("a machine that is to have none has none", async () => {
  const annotations = { ...MEMORY, "trine.dev/shares": "off" };
  const pod = await PodOfMany.make(at.node, { name: "without", annotations });
  const machine = await pod.start({ name: "machine", image: at.tiny, mounts: mounts() });
  await expect(serverOf(machine)).rejects.toThrow("nothing serves the volumes");
  const argv = await readFile(`/proc/${await at.vmm(machine)}/cmdline`, "utf8");
  expect(argv).not.toContain("vhost-user-fs");
  await pod.remove();
});
