// What a machine is told at its first boot, seen from inside a Debian guest with cloud-init, and from the tiny guest.
import { mkdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { debianGuestDisk, debianGuestImage, runCommand } from "@trine/testkit";
import type { RunningPod } from "@trine/testkit";
import { afterAll, beforeAll, expect, test } from "vitest";
import { BOOT_MS, NodeUnderTest, READY, SOAK } from "./node-under-test.ts";
import { PodOfTest } from "./pod-pair.ts";
import { makeSshKey, sshLogin } from "./ssh-login.ts";

/** A whole Debian under software emulation, on a machine that has other work. */
const DEBIAN_MS = 900_000;
const DEBIAN = /DEBIAN-GUEST READY/;

let at: NodeUnderTest;
let debian: string;
let dir: string;
/** Public keys by the name of their private ones' files. */
const keys: Record<string, string> = {};

/** A ConfigMap or Secret as the kubelet puts it on the node, mounted where a name of it is looked for. */
async function object(kind: "configmap" | "secret", name: string, data: Record<string, string>) {
  const hostPath = join(dir, `${kind}-${name}`);
  await mkdir(join(hostPath, "..2027"), { recursive: true });
  await symlink("..2027", join(hostPath, "..data"));
  for (const [key, text] of Object.entries(data)) {
    await writeFile(join(hostPath, "..2027", key), text);
    await symlink(`..data/${key}`, join(hostPath, key));
  }
  return { containerPath: `/trine.dev/${kind}/${name}`, hostPath, readonly: true };
}

beforeAll(async () => {
  at = await NodeUnderTest.start("2.4");
  const image = await debianGuestImage();
  debian = image.name;
  await at.node.containerd.importImage(image);
  dir = join(at.node.dir, "objects");
  await mkdir(dir);
  for (const name of ["implicit", "explicit", "annotation"]) {
    const file = join(dir, name);
    await makeSshKey(file, name);
    keys[name] = await readFile(`${file}.pub`, "utf8");
  }
}, 1_800_000);

afterAll(() => at.end());

/** Of a Debian that has much to do yet. */
async function sh({ containerId }: RunningPod, script: string): Promise<string> {
  const cmd = ["/bin/sh", "-c", script];
  const asked = { containerId, cmd, timeout: 300n };
  const { stdout, stderr } = await at.runtime.execSync(asked, { timeoutMs: 310_000 });
  return Buffer.concat([stdout, stderr]).toString();
}

/** What a login with that key says. */
const ssh = ({ ip }: Pick<RunningPod, "ip">, key: string, command: string): Promise<string> =>
  sshLogin(ip, join(dir, key), command);

test(
  "Virtlet's annotations: user-data merged from two sources, SSH keys from ConfigMap and annotation, files, environment",
  async () => {
    const mounts = [
      await object("configmap", "user-data", {
        write_files: "- {path: /root/from-map, content: of the map}\n",
        runcmd: "- [sh, -c, 'echo map >>/root/runs']\n",
      }),
      await object("secret", "keys", {
        authorized_keys: keys["implicit"] ?? "",
        other: keys["explicit"] ?? "",
      }),
      await object("configmap", "files", {
        locale: 'LANG="pl_PL.UTF-8"\n',
        locale_path: "/etc/locale.conf",
        locale_encoding: "plain",
        host: "bXVsdGkgb24K",
        host_path: "/etc/deep/er/host.conf",
      }),
    ];
    const pod = await at.node.run({
      name: "virtlet-vm",
      image: debian,
      mounts,
      env: { GREETING: "hello from the pod" },
      annotations: {
        "trine.dev/memory": "512Mi",
        VirtletVCPUCount: "2",
        VirtletSystemUUID: "4C4C4544-0043-3510-8052-B4C04F4E3432",
        VirtletCloudInitImageType: "nocloud",
        VirtletCloudInitMetaData: "local-hostname: named-by-meta-data\n",
        VirtletCloudInitUserDataSource: "configmap/user-data",
        VirtletCloudInitUserData:
          "write_files:\n- {path: /root/from-annotation, content: of the annotation}\nruncmd:\n- [sh, -c, 'echo annotation >>/root/runs']\n",
        VirtletSSHKeySource: "secret/keys",
        VirtletSSHKeys: keys["annotation"] ?? "",
        VirtletFilesFromDataSource: "configmap/files",
      },
    });
    await at.node.untilOutput(pod, DEBIAN, DEBIAN_MS);

    expect(await sh(pod, "cat /root/from-map /root/from-annotation; echo; cat /root/runs")).toBe(
      "of the mapof the annotation\nmap\nannotation\n",
    );
    expect(await sh(pod, "hostname; nproc; cat /sys/class/dmi/id/product_uuid")).toBe(
      "named-by-meta-data\n2\n4c4c4544-0043-3510-8052-b4c04f4e3432\n",
    );
    expect(await sh(pod, "cat /etc/locale.conf /etc/deep/er/host.conf")).toBe(
      'LANG="pl_PL.UTF-8"\nmulti on\n',
    );
    expect(await sh(pod, "cat /etc/cloud/environment; stat -c %a /etc/cloud/environment")).toMatch(
      /^GREETING=hello from the pod\n(.*\n)*600\n$/m,
    );
    expect(
      await sh(
        pod,
        "ip -4 route show default; cat /etc/netplan/* /run/systemd/network/* 2>/dev/null",
      ),
    ).toMatch(/^default via 10\.213\./);
    // The volumes the seed was made of are none of the guest's.
    expect((await at.sh(pod, "test -e /trine.dev")).exitCode).toBe(1);
    expect(await ssh(pod, "implicit", "sudo id -u")).toBe("0\n");
    expect(await ssh(pod, "annotation", "echo in")).toBe("in\n");
    await expect(ssh(pod, "explicit", "true")).rejects.toThrow(/Permission denied/);
    expect(await sh(pod, "getent hosts containers.trine.internal")).toMatch(/^169\.254\.77\.1 /);
    // Without the daemon, and with the next one.
    await at.node.killTrined();
    expect(await ssh(pod, "annotation", "echo alone")).toBe("alone\n");
    await at.node.startTrined();
    expect(await ssh(pod, "annotation", "echo again")).toBe("again\n");
    await at.node.remove(pod);
  },
  DEBIAN_MS + 120_000,
);

// Two boots of a Debian more than CI has time for.
if (SOAK) {
  test.each([
    ["nocloud", "DataSourceNoCloud"],
    ["configdrive", "DataSourceConfigDrive"],
  ])(
    "on a root that stays the first boot's work is done once, and the network is the pod's each time: %s",
    async (kind, source) => {
      const volume = join(at.node.dir, "volume");
      await mkdir(volume, { recursive: true });
      const root = join(volume, "root.qcow2");
      await runCommand("qemu-img", ["convert", "-O", "qcow2", await debianGuestDisk(), root]);
      const script = "#!/bin/sh\necho ran >>/root/runs\n";
      const mounts = [
        await object("secret", `seed-${kind}`, {
          script: Buffer.from(script).toString("base64"),
          key: keys["explicit"] ?? "",
        }),
        { containerPath: "/vol", hostPath: volume },
      ];
      const annotations = {
        "trine.dev/memory": "512Mi",
        "trine.dev/shares": "off",
        "trine.dev/disks": "- {name: root, file: /vol/root.qcow2, format: qcow2}",
        "trine.dev/cloud-init": kind,
        "trine.dev/user-data-from": `secret/seed-${kind}`,
        "trine.dev/user-data-key": "script",
        "trine.dev/user-data-encoding": "base64",
        "trine.dev/ssh-keys-from": `secret/seed-${kind}/key`,
      };
      // Two pods of one name, one after the other, as a StatefulSet makes them: the second has another address.
      const seen: { ip: string; id: string }[] = [];
      for (const runs of ["ran\n", "ran\n"]) {
        const of = await PodOfTest.start(at.node, {
          name: "kept",
          image: debian,
          handler: "trine-vm",
          annotations,
        });
        const pod = await of.run({ metadata: { name: "main", attempt: 0 }, mounts });
        await at.node.untilOutput(pod, DEBIAN, DEBIAN_MS);
        const { status } = await at.runtime.podSandboxStatus({ podSandboxId: of.podSandboxId });
        const ip = status?.network?.ip ?? "";
        expect(await sh(pod, "cat /root/runs; hostname")).toBe(`${runs}kept\n`);
        // Of every boot: cloud-init 22 writes its cloud-id only when it looks for the source anew.
        const found = "cut -d: -f1 /var/lib/cloud/instance/datasource";
        expect(await sh(pod, found)).toBe(`${source}\n`);
        expect(await sh(pod, "ip -4 -o addr show scope global")).toContain(` ${ip}/`);
        expect(await ssh({ ip }, "explicit", "echo in")).toBe("in\n");
        expect(await sh(pod, "getent hosts containers.trine.internal")).toMatch(
          /^169\.254\.77\.1 /,
        );
        // cloud-init has a directory for each instance that it knows.
        seen.push({ ip, id: await sh(pod, "ls /var/lib/cloud/instances") });
        await at.runtime.stopContainer({ containerId: pod.containerId, timeout: 120n });
        await of.remove();
      }
      expect(seen[1]?.id).toBe(seen[0]?.id);
      expect(seen[0]?.id).toMatch(/^\S+\n$/);
      expect(seen[1]?.ip).not.toBe(seen[0]?.ip);
      await rm(root);
    },
    3 * DEBIAN_MS,
  );
}

test(
  "an Ignition config is in the firmware's files, Windows' answers on a CD, and both go with the machine",
  async () => {
    const config = '{"ignition": {"version": "3.4.0"}, "note": "a, b=c"}';
    const answers = await object("secret", "windows", { "autounattend.xml": "<unattend/>" });
    const ignition = await object("secret", "coreos", { "config.ign": config });
    const pod = await at.node.run({
      name: "told",
      image: at.tiny,
      mounts: [answers, ignition],
      annotations: {
        "trine.dev/memory": "128Mi",
        "trine.dev/ignition-from": "secret/coreos/config.ign",
        "trine.dev/sysprep-from": "secret/windows",
      },
    });
    await at.node.untilOutput(pod, READY, BOOT_MS);
    const raw = "/sys/firmware/qemu_fw_cfg/by_name/opt/com.coreos/config/raw";
    expect(await sh(pod, `modprobe qemu_fw_cfg; cat ${raw}`)).toBe(config);
    const podDir = await at.podDir(pod);
    const iso = join(podDir, "answers.iso");
    const list = ["-i", iso, "-R", "-x", "/autounattend.xml"];
    expect(await runCommand("isoinfo", list)).toBe("<unattend/>");
    expect(await runCommand("isoinfo", ["-i", iso, "-d"])).toContain("Volume id: unattendCfg");
    await at.node.killTrined();
    await at.node.startTrined();
    expect(await sh(pod, `cat ${raw}`)).toBe(config);
    await at.node.remove(pod);
    await expect(readFile(join(podDir, "ignition.json"))).rejects.toMatchObject({ code: "ENOENT" });
  },
  2 * BOOT_MS,
);

test.each([
  [
    { VirtletSSHKeySource: "secret/none" },
    /trine\.dev\/ssh-keys-from: secret\/none is read from a volume.*none is mounted at \/trine\.dev\/secret\/none: add the Secret none/,
  ],
  [{ "trine.dev/user-data-from": "configmap/bad" }, /user-data-from: .*leads out of its directory/],
  [
    { VirtletVMIdentitySet: "a" },
    /VirtletVMIdentitySet: \(1 bytes\) is not supported: Virtlet never had it; a root disk/,
  ],
  [
    { "trine.dev/cloud-init": "off", "trine.dev/user-data": "#!/bin/sh\n" },
    /user-data: \(given\) reaches no guest where trine\.dev\/cloud-init is off/,
  ],
] as const)("%j is refused with the reason, and nothing is left", async (annotations, says) => {
  const bad = join(dir, "bad");
  await mkdir(bad, { recursive: true });
  await rm(join(bad, "users"), { force: true });
  await symlink("/etc/shadow", join(bad, "users"));
  const mounts = [{ containerPath: "/trine.dev/configmap/bad", hostPath: bad, readonly: true }];
  const running = at.node.run({ name: "refused", image: at.tiny, mounts, annotations });
  await expect(running).rejects.toThrow(says);
  expect(await at.views()).toEqual([]);
});
