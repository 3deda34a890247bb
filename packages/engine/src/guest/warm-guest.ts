import { once } from "node:events";
import { mkdir } from "node:fs/promises";
import { createConnection } from "node:net";
import { join } from "node:path";
import { addAbortSignal } from "node:stream";
import type { AgentClient } from "@trine/guest-link";
import type { Machine } from "@trine/vmm";
import type { PodContext } from "../pod-context.ts";
import type { GuestRecord } from "../pod-document.ts";
import { mountShare, unmountShare } from "../share-mounts.ts";
import type { PlannedMount } from "../share-mounts.ts";
import type { DiskRoot } from "./disk-root-record.ts";
import { GUEST_SHARE, GUEST_SHM } from "./guest-spec.ts";
import { reviveRequest } from "./revive-request.ts";
import { ANOTHER_NOBODYS_NETWORK, NOBODYS_NETWORK } from "./spare-identity.ts";
import { placeWarmRoot } from "./warm-root.ts";

const CONTAINER = "warm";
const PROGRAM = "/program";
/** Emulation translates code when it first runs; what ran twice has taken both branches of "is it there yet". */
const ROUNDS = 2;
const ROUND_MS = 60_000;

/**
 * Runs in a guest that is nobody's what every pod will run in it: names and a network in place of those it has, and
 * a container with containerd's usual mounts, its root on the share and then on disks, output and exit, and its end.
 * Under emulation that code is translated then, and on any CPU its pages are there. The program is the file server's, run without arguments: it says how it is used,
 * and ends.
 */
export async function warmGuest(
  pod: PodContext,
  to: { readonly guest: GuestRecord; readonly machine: Machine },
  agent: AgentClient,
): Promise<void> {
  const { shim, files, deps } = pod;
  for (let round = 0; round < ROUNDS; round += 1) await reviveAnew(pod, agent);
  const dir = join(files.shareDir, CONTAINER);
  const program: PlannedMount = {
    target: join(dir, "rootfs", PROGRAM),
    kind: "file",
    what: { bind: { source: deps.config.microvms.fileServer, readOnly: true } },
  };
  const root = { target: join(dir, "rootfs"), kind: "directory" } as const;
  // What the container mounts there must be there: the share itself is not the guest's to write.
  const places = ["proc", "dev", "sys"].map((name) => ({
    target: join(root.target, name),
    kind: "directory" as const,
  }));
  for (const { target } of places) await mkdir(target, { recursive: true });
  await mountShare(shim, [program]);
  for (let round = 0; round < ROUNDS; round += 1) await runOnce(agent, files.guestSocket);
  for (let round = 0; round < ROUNDS; round += 1) {
    const disks = await placeWarmRoot(pod, to, { id: CONTAINER, program: PROGRAM });
    if (disks === undefined) break;
    await disks.remove(await runOnce(agent, files.guestSocket, disks.root));
  }
  await unmountShare(shim, dir, [root, ...places, program]);
}

/** Another nobody's names and network take the place of its own, as its pod's will; and its own theirs. */
async function reviveAnew(pod: PodContext, agent: AgentClient): Promise<void> {
  for (const network of [ANOTHER_NOBODYS_NETWORK, NOBODYS_NETWORK]) {
    await agent.revive(reviveRequest(pod, [network]));
  }
}

/** Answers the disks that something in the guest still holds. */
async function runOnce(
  agent: AgentClient,
  guestSocket: string,
  root?: DiskRoot,
): Promise<readonly string[]> {
  const until = AbortSignal.timeout(ROUND_MS);
  await agent.createContainer({
    container: CONTAINER,
    spec: new TextEncoder().encode(JSON.stringify(root === undefined ? SPEC : SPEC_ON_DISKS)),
    terminal: false,
    stdin: false,
    ...(root === undefined ? {} : { root: { lower: root.lower, upper: root.upper } }),
  });
  const streams = ["stdout", "stderr", "exit"].map((part) =>
    untilEnd(guestSocket, `${part}/${CONTAINER}/`, until),
  );
  await agent.startProcess({ container: CONTAINER, exec: "" });
  await Promise.all(streams);
  return agent.removeContainer(CONTAINER);
}

/** Opens a stream of the guest link and reads it away. */
async function untilEnd(guestSocket: string, name: string, signal: AbortSignal): Promise<void> {
  const stream = addAbortSignal(signal, createConnection(guestSocket));
  stream.end(`${name}\n`);
  stream.resume();
  await once(stream, "close", { signal });
}

const CAPABILITIES = ["CAP_CHOWN", "CAP_SETGID", "CAP_SETUID", "CAP_KILL", "CAP_NET_BIND_SERVICE"];

/** What containerd asks of an ordinary container, where it matters to the agent. */
const SPEC = {
  ociVersion: "1.1.0",
  process: {
    args: [PROGRAM],
    cwd: "/",
    env: ["PATH=/bin"],
    user: { uid: 0, gid: 0, additionalGids: [0] },
    capabilities: {
      bounding: CAPABILITIES,
      effective: CAPABILITIES,
      permitted: CAPABILITIES,
    },
    noNewPrivileges: true,
    rlimits: [{ type: "RLIMIT_NOFILE", soft: 1024, hard: 1024 }],
    oomScoreAdj: 1000,
  },
  root: { path: `${GUEST_SHARE}/${CONTAINER}/rootfs`, readonly: true },
  mounts: [
    mount("/proc", "proc", "nosuid", "noexec", "nodev"),
    mount("/dev", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
    mount("/dev/pts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"),
    mount("/dev/mqueue", "mqueue", "nosuid", "noexec", "nodev"),
    mount("/sys", "sysfs", "nosuid", "noexec", "nodev", "ro"),
    mount("/sys/fs/cgroup", "cgroup", "nosuid", "noexec", "nodev", "relatime", "ro"),
    { destination: "/dev/shm", type: "bind", source: GUEST_SHM, options: ["rbind", "rw"] },
  ],
  linux: {
    namespaces: [{ type: "pid" }, { type: "mount" }, { type: "cgroup" }],
    resources: {
      memory: { limit: 64 * 1024 * 1024 },
      cpu: { shares: 2 },
      devices: [{ allow: false, access: "rwm" }],
    },
    maskedPaths: ["/proc/acpi", "/proc/kcore", "/proc/keys", "/sys/firmware"],
    readonlyPaths: ["/proc/bus", "/proc/sys", "/proc/sysrq-trigger"],
  },
};

/** The files that containerd gives every container come over the share; there is none of them in the image. */
const SPEC_ON_DISKS = {
  ...SPEC,
  root: { path: SPEC.root.path, readonly: false },
  mounts: [
    ...SPEC.mounts,
    ...["/etc/hosts", "/etc/hostname", "/etc/resolv.conf"].map((destination) => ({
      destination,
      type: "bind",
      source: join(SPEC.root.path, PROGRAM),
      options: ["rbind", "rprivate", "rw"],
    })),
  ],
};

function mount(
  destination: string,
  type: string,
  ...options: string[]
): { destination: string; type: string; source: string; options: string[] } {
  return { destination, type, source: type, options };
}
