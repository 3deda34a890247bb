import { access, constants, readFile, statfs } from "node:fs/promises";
import { execFile } from "node:child_process";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { messageOf } from "@trine/base";
import { createCriClient } from "@trine/containerd-client";
import { HANDLERS, POD_ANNOTATION_PATTERNS } from "@trine/annotations";
import { probeAccelerator, queryQemu } from "@trine/vmm-qemu";
import { NodeClient } from "./node-client.ts";

const run = promisify(execFile);
const GIB = 1024 ** 3;
const PROBE_MS = 60_000;

export interface Finding {
  readonly name: string;
  readonly status: "ok" | "warn" | "fail";
  readonly detail: string;
  readonly fix?: string;
}

interface Node {
  readonly stateDir: string;
  readonly containerd: string;
  readonly qemu: string;
}

type Check = (node: Node, signal: AbortSignal) => Promise<Finding>;

/** In the order in which a person would look. */
export const CHECKS: readonly Check[] = [
  checkQemu,
  checkAccelerator,
  checkTun,
  checkTools,
  checkCapabilities,
  checkCgroups,
  checkSpace,
  checkContainerd,
  checkHandlers,
  checkDaemon,
];

async function checkQemu(node: Node, signal: AbortSignal): Promise<Finding> {
  try {
    const { version } = await queryQemu(node.qemu, signal);
    return { name: "qemu", status: "ok", detail: `${node.qemu}, version ${version}` };
  } catch (cause) {
    return {
      name: "qemu",
      status: "fail",
      detail: messageOf(cause),
      fix: "apt-get install qemu-system-x86",
    };
  }
}

async function checkAccelerator(node: Node, signal: AbortSignal): Promise<Finding> {
  const probe = await probeAccelerator({
    qemuPath: node.qemu,
    cacheFile: join(tmpdir(), "trine-accelerator.json"),
    signal: AbortSignal.any([signal, AbortSignal.timeout(PROBE_MS)]),
  });
  if (probe.accelerator === "kvm") {
    return { name: "kvm", status: "ok", detail: "a guest boots under KVM" };
  }
  return {
    name: "kvm",
    status: "warn",
    detail: `no guest boots under KVM (${probe.reason}): machines run under software emulation, 10-50 times slower`,
    fix: "enable virtualization in the firmware or nested virtualization at the host, and load kvm_intel or kvm_amd",
  };
}

async function checkTun(): Promise<Finding> {
  try {
    await access("/dev/net/tun", constants.R_OK | constants.W_OK);
    return { name: "tun", status: "ok", detail: "/dev/net/tun opens" };
  } catch (cause) {
    return { name: "tun", status: "fail", detail: messageOf(cause), fix: "modprobe tun" };
  }
}

async function checkTools(): Promise<Finding> {
  const missing: string[] = [];
  for (const tool of ["ip", "nft", "ctr"]) {
    await run(tool, [tool === "ip" ? "-V" : "--version"]).catch(() => missing.push(tool));
  }
  return missing.length === 0
    ? { name: "tools", status: "ok", detail: "ip, nft and ctr are there" }
    : {
        name: "tools",
        status: "fail",
        detail: `missing: ${missing.join(", ")}`,
        fix: "apt-get install iproute2 nftables containerd",
      };
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

async function checkCapabilities(): Promise<Finding> {
  const status = await readFile("/proc/self/status", "utf8");
  const bits = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)/m.exec(status)?.[1] ?? "0"}`);
  const has = (bit: number): boolean => ((bits >> BigInt(bit)) & 1n) === 1n;
  const missing = Object.entries(CAPABILITIES).flatMap(([name, bit]) => (has(bit) ? [] : [name]));
  if (missing.length > 0) {
    return {
      name: "capabilities",
      status: "fail",
      detail: `missing: ${missing.join(", ")}`,
      fix: "run as root on the node",
    };
  }
  return has(SYS_RESOURCE)
    ? { name: "capabilities", status: "ok", detail: "all that is needed" }
    : {
        name: "capabilities",
        status: "warn",
        detail: "no SYS_RESOURCE: shims cannot protect themselves from the OOM killer",
        fix: "containerd 1.6 needs restrict_oom_score_adj = true here",
      };
}

async function checkCgroups(): Promise<Finding> {
  const v2 = await readFile("/sys/fs/cgroup/cgroup.controllers", "utf8").catch(() => undefined);
  if (v2 !== undefined) {
    const untested = v2.includes("memory") ? "" : "; the memory controller is off";
    return {
      name: "cgroups",
      status: "warn",
      detail: `version 2: untested on this kind of host${untested}`,
    };
  }
  const memory = await access("/sys/fs/cgroup/memory").then(
    () => true,
    () => false,
  );
  return memory
    ? { name: "cgroups", status: "ok", detail: "version 1" }
    : {
        name: "cgroups",
        status: "fail",
        detail: "no memory controller under /sys/fs/cgroup",
        fix: "boot with cgroup_enable=memory, or with cgroup version 2",
      };
}

async function checkSpace(node: Node): Promise<Finding> {
  const at = await statfs(node.stateDir).then(
    () => node.stateDir,
    () => "/run",
  );
  const state = await statfs(at);
  const disk = await statfs("/var/lib");
  const free = (fs: { bavail: number; bsize: number }): number => (fs.bavail * fs.bsize) / GIB;
  const detail = `${free(disk).toFixed(1)} GiB on /var/lib, ${free(state).toFixed(1)} GiB on ${at}`;
  return free(disk) < 5 || free(state) < 0.05
    ? { name: "space", status: "fail", detail, fix: "free some: images and disks live there" }
    : { name: "space", status: "ok", detail };
}

async function checkContainerd(node: Node): Promise<Finding> {
  const client = createCriClient(node.containerd);
  try {
    const version = await client.runtime.version({});
    const name = `${version.runtimeName} ${version.runtimeVersion}`;
    const major = Number(version.runtimeVersion.replace(/^v/, "").split(".")[0]);
    const minor = Number(version.runtimeVersion.replace(/^v/, "").split(".")[1]);
    const old = version.runtimeName === "containerd" && (major < 1 || (major === 1 && minor < 6));
    return old
      ? { name: "containerd", status: "fail", detail: `${name}: 1.6 is the oldest that works` }
      : { name: "containerd", status: "ok", detail: name };
  } catch (cause) {
    return {
      name: "containerd",
      status: "fail",
      detail: messageOf(cause),
      fix: `start containerd, or name its socket with --containerd`,
    };
  } finally {
    client.close();
  }
}

/** containerd's verbose status holds its CRI configuration as JSON. */
async function checkHandlers(node: Node): Promise<Finding> {
  const client = createCriClient(node.containerd);
  try {
    const { info } = await client.runtime.status({ verbose: true });
    const text = info["config"] ?? "";
    const missing = [...HANDLERS, ...POD_ANNOTATION_PATTERNS].filter(
      (word) => !text.includes(JSON.stringify(word)),
    );
    return missing.length === 0
      ? { name: "handlers", status: "ok", detail: `${HANDLERS.join(", ")} are configured` }
      : {
          name: "handlers",
          status: "fail",
          detail: `containerd's configuration lacks ${missing.join(", ")}`,
          fix: "install the drop-in of deploy/containerd and restart containerd",
        };
  } catch (cause) {
    return { name: "handlers", status: "fail", detail: messageOf(cause) };
  } finally {
    client.close();
  }
}

async function checkDaemon(node: Node): Promise<Finding> {
  try {
    const ready = await new NodeClient(node.stateDir).probe("/readyz");
    return ready.ok
      ? { name: "trined", status: "ok", detail: "ready" }
      : { name: "trined", status: "fail", detail: ready.text };
  } catch (cause) {
    return {
      name: "trined",
      status: "fail",
      detail: messageOf(cause),
      fix: "systemctl start trined",
    };
  }
}
