// Users, rights, system calls, devices and kernel parameters: the same containers under runc and in a microvm.
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { messageOf } from "@trine/base";
import { SecurityProfile_ProfileType as Seccomp } from "@trine/proto/cri/api";
import type { TrineNode } from "@trine/testkit";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startMicrovmNode } from "./microvm-node.ts";
import { MICROVM, PodOfTest, PodPair } from "./pod-pair.ts";
import type { SecurityContext } from "./pod-pair.ts";
import { asOctal, mkdirProgram32 } from "./program-32.ts";

let node: TrineNode;
let image: string;
let pair: PodPair;

beforeAll(async () => {
  ({ node, image } = await startMicrovmNode());
  await writeFile(profile(), JSON.stringify(PROFILE));
  const config = { linux: { securityContext: { privileged: true } } };
  pair = await PodPair.start(node, image, { name: "security", config });
}, 1_800_000);

afterAll(async () => {
  await pair.remove();
  expect(await node.stop()).toEqual([]);
});

/** Of the node, as kubelet gives it. */
const profile = (): string => join(node.dir, "profile.json");
const PROFILE = {
  defaultAction: "SCMP_ACT_ALLOW",
  architectures: ["SCMP_ARCH_X86_64"],
  syscalls: [{ names: ["mkdir", "mkdirat"], action: "SCMP_ACT_ERRNO", errnoRet: 95 }],
};
/** What a process may and what it is; kernels differ in the rest of /proc and /sys. */
const LOOK = [
  "id; grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status; grep -E '^Cap' /proc/1/status",
  "mkdir /tmp/made 2>&1; echo mkdir $?; unshare -m true 2>&1; echo unshare $?",
  "(echo 1 >/proc/sys/net/ipv4/ip_forward) 2>&1; echo forward $?",
  "mkdir -p /mnt; mount -t tmpfs none /mnt 2>&1; echo mount $?; hostname other 2>&1; echo name $?",
  `awk '$5=="/sys"||$5=="/proc"{print $5,$6}' /proc/self/mountinfo; cat /proc/1/comm; ulimit -a`,
].join("\n");

describe("a security context means the same", () => {
  test.each<[string, () => SecurityContext]>([
    ["seccomp RuntimeDefault", () => ({ seccomp: { profileType: Seccomp.RuntimeDefault } })],
    ["seccomp Unconfined", () => ({ seccomp: { profileType: Seccomp.Unconfined } })],
    [
      "a seccomp profile of the node",
      () => ({ seccomp: { profileType: Seccomp.Localhost, localhostRef: profile() } }),
    ],
    ["no new privileges", () => ({ noNewPrivs: true, runAsUser: { value: 7n } })],
    ["privileged", () => ({ privileged: true })],
    ["a user by name, with groups", () => ({ runAsUsername: "nobody", supplementalGroups: [77n] })],
    [
      "one capability of all",
      () => ({
        capabilities: { dropCapabilities: ["ALL"], addCapabilities: ["NET_BIND_SERVICE"] },
      }),
    ],
    ["nothing of /proc masked", () => ({ maskedPaths: [], readonlyPaths: [] })],
  ])(
    "%s",
    async (_, securityContext) => {
      const seen = await pair.script({ linux: { securityContext: securityContext() } }, LOOK);
      expect(seen.microvm).toBe(seen.runc);
      expect(seen.runc).toMatch(/^uid=/);
    },
    120_000,
  );
});

test("32-bit programs are under the same profile, by the numbers of their calls", async () => {
  const program = asOctal(mkdirProgram32("/tmp/made32"));
  const script = `printf '${program}' >/tmp/p; chmod +x /tmp/p; /tmp/p; echo $?`;
  const architectures = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"];
  await writeFile(`${profile()}.32`, JSON.stringify({ ...PROFILE, architectures }));
  const profiles = [
    { profileType: Seccomp.RuntimeDefault },
    { profileType: Seccomp.Localhost, localhostRef: `${profile()}.32` },
  ];
  for (const [index, seccomp] of profiles.entries()) {
    const seen = await pair.script({ linux: { securityContext: { seccomp } } }, script);
    expect(seen.microvm).toBe(seen.runc);
    expect(seen.runc).toBe(["0\n", "95\n"][index]);
  }
}, 120_000);

test("devices that every kernel has can be given, the node's own cannot", async () => {
  const devices = [
    { containerPath: "/dev/mine", hostPath: "/dev/null", permissions: "rw" },
    { containerPath: "/dev/net/tun", hostPath: "/dev/net/tun", permissions: "rwm" },
  ];
  const script = "stat -c '%F %t %T' /dev/mine /dev/net/tun; echo x >/dev/mine; echo $?";
  const seen = await pair.script({ devices }, script);
  expect(seen.microvm).toBe(seen.runc);
  // A whole disk is another matter: tests/microvm-devices.
  const kmsg = { containerPath: "/dev/kmsg", hostPath: "/dev/kmsg", permissions: "rw" };
  await expect(pair.microvm.run({ devices: [kmsg] })).rejects.toThrow(/device \/dev\/kmsg: /);
}, 120_000);

describe("refused with the reason", () => {
  const NODE = 2; // NamespaceMode.NODE
  test.each([
    [{ securityContext: { namespaceOptions: { network: NODE } } }, "hostNetwork: true"],
    [{ securityContext: { namespaceOptions: { pid: NODE } } }, "hostPID: true"],
    [{ securityContext: { namespaceOptions: { ipc: NODE } } }, "hostIPC: true"],
    [
      { sysctls: { "vm.swappiness": "10" } },
      'sysctl "vm.swappiness" is not in a separate kernel namespace',
    ],
  ])(
    "%j",
    async (linux, why) => {
      const start = PodOfTest.start(node, {
        handler: MICROVM,
        image,
        name: "refused",
        config: { linux },
      });
      const said = await start.then(() => "it was run", messageOf);
      expect(said).toContain(why);
    },
    120_000,
  );
});
