import { execFile } from "node:child_process";
import { access, constants, mkdtemp, readFile, rm, statfs } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { messageOf } from "@trine/base";
import { probeAccelerator, queryQemu } from "@trine/vmm-qemu";
import { UNTESTED } from "./finding.ts";
import type { Check, Finding } from "./finding.ts";

type Result = Omit<Finding, "name">;

const run = promisify(execFile);
const TOOL_MS = 10_000;
const GIB = 1024 ** 3;
const LEAST_DISK = 5 * GIB;
const LEAST_STATE = GIB / 20;
const UEFI = [
  ...["/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"],
  ...["/usr/share/OVMF/OVMF_CODE_4M.secboot.fd", "/usr/share/OVMF/OVMF_VARS_4M.ms.fd"],
];
const SWTPM = "/usr/bin/swtpm";
/** What machines are given of a node that has it; no test's node has. */
const DEVICES = { "/dev/vhost-vsock": "trine.dev/vsock", "/dev/vfio/vfio": "devices given whole" };

export const HOST_CHECKS: readonly Check[] = [
  { name: "qemu", run: ({ qemu }, signal) => checkQemu(qemu, signal) },
  { name: "kvm", run: ({ qemu }, signal) => checkAccelerator(qemu, signal) },
  { name: "uefi", run: checkUefi },
  { name: "tpm", run: checkTpm },
  { name: "devices", run: checkDevices },
  { name: "tun", run: checkTun },
  { name: "tools", run: checkTools },
  { name: "nftables", run: checkNftables },
  { name: "capabilities", run: async () => judgeCapabilities(await processStatus()) },
  { name: "cgroups", run: checkCgroups },
  { name: "space", run: ({ stateDir }) => checkSpace(stateDir) },
];

async function checkQemu(qemu: string, signal: AbortSignal): Promise<Result> {
  try {
    const { version } = await queryQemu(qemu, signal);
    return { status: "ok", detail: `${qemu}, version ${version}` };
  } catch (cause) {
    const fix = "apt-get install qemu-system-x86, or name the program by --qemu";
    return { status: "fail", detail: messageOf(cause), fix };
  }
}

/** Really boots a guest: a /dev/kvm that opens says little. */
async function checkAccelerator(qemuPath: string, signal: AbortSignal): Promise<Result> {
  const dir = await mkdtemp(join(tmpdir(), "trine-doctor-"));
  try {
    const probe = await probeAccelerator({ qemuPath, cacheFile: join(dir, "kvm.json"), signal });
    if (probe.accelerator === "kvm") {
      return { status: "warn", detail: `a guest boots under KVM; ${UNTESTED}` };
    }
    return {
      status: "warn",
      detail: `machines run under software emulation, 10-50 times slower: ${probe.reason}`,
      fix: "enable virtualization in the firmware (or nested virtualization at the host) and load kvm_intel or kvm_amd",
    };
  } catch (cause) {
    return { status: "fail", detail: messageOf(cause), fix: "mend the check qemu first" };
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

async function checkUefi(): Promise<Result> {
  try {
    await Promise.all(UEFI.map((file) => access(file, constants.R_OK)));
    return { status: "ok", detail: "OVMF is there" };
  } catch (cause) {
    const detail = `machines with trine.dev/firmware: uefi are refused: ${messageOf(cause)}`;
    return { status: "warn", detail, fix: "apt-get install ovmf" };
  }
}

async function checkTpm(): Promise<Result> {
  try {
    await access(SWTPM, constants.X_OK);
    return { status: "ok", detail: `${SWTPM} is there` };
  } catch (cause) {
    const detail = `machines with trine.dev/tpm are refused: ${messageOf(cause)}`;
    return { status: "warn", detail, fix: "apt-get install swtpm" };
  }
}

async function checkDevices(): Promise<Result> {
  const found: string[] = [];
  for (const [path, what] of Object.entries(DEVICES)) {
    const isThere = await access(path).then(
      () => true,
      () => false,
    );
    if (isThere) found.push(`${what} (${path})`);
  }
  if (found.length === 0) return { status: "ok", detail: "none that machines could be given" };
  return { status: "warn", detail: `${found.join(", ")}: ${UNTESTED}` };
}

async function checkTun(): Promise<Result> {
  try {
    await access("/dev/net/tun", constants.R_OK | constants.W_OK);
    return { status: "ok", detail: "/dev/net/tun opens" };
  } catch (cause) {
    return { status: "fail", detail: messageOf(cause), fix: "modprobe tun, as root" };
  }
}

/** By their own version calls: a file that is there may not run. */
const TOOLS: readonly (readonly [name: string, flag: string, of: string])[] = [
  ["ip", "-V", "iproute2"],
  ["nft", "--version", "nftables"],
  ["sysctl", "--version", "procps"],
  ["ctr", "--version", "containerd"],
];

async function checkTools(_place: unknown, signal: AbortSignal): Promise<Result> {
  const missing: (readonly string[])[] = [];
  for (const tool of TOOLS) {
    const [name, flag] = tool;
    await run(name, [flag], { timeout: TOOL_MS, signal }).catch(() => missing.push(tool));
  }
  if (missing.length === 0) {
    return { status: "ok", detail: `${TOOLS.map(([name]) => name).join(", ")} run` };
  }
  return {
    status: "fail",
    detail: `missing: ${missing.map(([name]) => name).join(", ")}`,
    fix: `apt-get install ${missing.map(([, , of]) => of).join(" ")}`,
  };
}

/** What joins a machine's tap to its pod's interface; checked by the kernel, not applied. */
const FORWARD = `table netdev trine_doctor {
  chain c { type filter hook ingress device "lo" priority 0; fwd to "lo"; }
}
`;

function checkNftables(_place: unknown, signal: AbortSignal): Promise<Result> {
  return new Promise((resolve) => {
    const limits = { timeout: TOOL_MS, signal };
    const child = execFile("nft", ["--check", "--file", "-"], limits, (cause, _out, errors) => {
      const why = errors.trim().split("\n")[0] ?? "";
      resolve(
        cause === null
          ? { status: "ok", detail: "the kernel forwards in netdev ingress hooks" }
          : {
              status: "fail",
              detail: `the kernel refuses forwarding in ingress hooks: ${why || cause.message}`,
              fix: "run as root with nft 0.9 or later; modprobe nft_fwd_netdev",
            },
      );
    });
    child.stdin?.on("error", () => undefined); // the callback has the reason
    child.stdin?.end(FORWARD);
  });
}

/** Bits of CapEff (linux/capability.h) that the daemon and its shims use. */
const CAPABILITIES: Readonly<Record<string, number>> = {
  CHOWN: 0,
  DAC_OVERRIDE: 1,
  KILL: 5,
  SETGID: 6,
  SETUID: 7,
  NET_ADMIN: 12,
  NET_RAW: 13,
  SYS_ADMIN: 21,
  MKNOD: 27,
};
const SYS_RESOURCE = 24;

async function processStatus(): Promise<string> {
  return readFile("/proc/self/status", "utf8");
}

/** `status`: text of /proc/PID/status. */
export function judgeCapabilities(status: string): Result {
  const bits = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)/m.exec(status)?.[1] ?? "0"}`);
  const has = (bit: number): boolean => ((bits >> BigInt(bit)) & 1n) === 1n;
  const missing = Object.entries(CAPABILITIES).flatMap(([name, bit]) => (has(bit) ? [] : [name]));
  if (missing.length > 0) {
    const fix = "run trine doctor as root, and trined as root on the node";
    return { status: "fail", detail: `missing: ${missing.join(", ")}`, fix };
  }
  if (has(SYS_RESOURCE)) return { status: "ok", detail: "all that is needed" };
  return {
    status: "warn",
    detail: "no SYS_RESOURCE: shims cannot protect themselves from the OOM killer",
    fix: "give it to the node; else containerd needs restrict_oom_score_adj = true",
  };
}

async function checkCgroups(): Promise<Result> {
  const controllers = await readFile("/sys/fs/cgroup/cgroup.controllers", "utf8").catch(
    () => undefined,
  );
  if (controllers !== undefined) {
    return controllers.split(/\s+/).includes("memory")
      ? { status: "warn", detail: `version 2; ${UNTESTED}` }
      : { status: "fail", detail: "version 2 without the memory controller", fix: MEMORY };
  }
  return access("/sys/fs/cgroup/memory").then(
    () => ({ status: "ok", detail: "version 1" }),
    () => ({ status: "fail", detail: "no memory controller in /sys/fs/cgroup", fix: MEMORY }),
  );
}

const MEMORY = "boot with cgroup_enable=memory";

async function checkSpace(stateDir: string): Promise<Result> {
  const at = await statfs(stateDir).then(
    () => stateDir,
    () => "/run",
  );
  const [state, disk] = [await freeBytes(at), await freeBytes("/var/lib")];
  const gib = (bytes: number): string => (bytes / GIB).toFixed(1);
  const detail = `${gib(disk)} GiB free on /var/lib, ${gib(state)} GiB on ${at}`;
  return disk < LEAST_DISK || state < LEAST_STATE
    ? { status: "fail", detail, fix: `free some: 5 GiB on /var/lib, 0.05 GiB on ${at}` }
    : { status: "ok", detail };
}

async function freeBytes(path: string): Promise<number> {
  const { bavail, bsize } = await statfs(path);
  return bavail * bsize;
}
