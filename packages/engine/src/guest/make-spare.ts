import { readlink, writeFile } from "node:fs/promises";
import { setPriority } from "node:os";
import { join } from "node:path";
import { Undo } from "@trine/base";
import type { ShimLink } from "@trine/shim-client";
import type { Bundle } from "../bundle.ts";
import { makeShim } from "../make-shim.ts";
import { PodContext } from "../pod-context.ts";
import type { PodDeps } from "../pod-context.ts";
import { tapOf } from "../tap.ts";
import { PodGuest } from "./pod-guest.ts";
import { prepareGuest } from "./prepare-guest.ts";
import { NOBODYS_NETWORK } from "./spare-identity.ts";
import type { GuestSize } from "../pod-document.ts";
import { warmGuest } from "./warm-guest.ts";

/** In a spare's directory: it may be claimed by who is in the same namespaces (crates/shim/src/spare.rs). */
export const READY_FILE = "ready";
/** Pods that run come first; the claim ends it. */
const NICE = 10;

interface SparePlace {
  readonly dir: string;
  readonly name: string;
  readonly key: string;
}

/**
 * What containerd sets for nearly every pod, as the kernel has them by itself: a pod that sets neither finds nothing
 * changed, and for one that does that code has run.
 */
const USUAL_SYSCTLS = {
  "net.ipv4.ip_unprivileged_port_start": "1024",
  "net.ipv4.ping_group_range": "1 0",
};

/** The bundle of a shim that has none. */
const NO_BUNDLE: Bundle = {
  path: "",
  annotations: {},
  hostname: "spare",
  resolvConf: undefined,
  memoryLimitBytes: undefined,
  oomScoreAdj: 0,
  isPodSandbox: false,
  spec: { linux: { sysctl: USUAL_SYSCTLS } },
};

/**
 * Makes a shim without a pod, boots a guest in it and runs there what pods run. Whoever sees it fail ends what
 * is in the directory. No tenant's data is in it: it has seen no pod.
 */
export async function makeSpare(
  deps: PodDeps,
  { dir, name, key }: SparePlace,
  size: GuestSize,
  signal: AbortSignal,
): Promise<ShimLink> {
  const shim = await makeShim(deps.config, dir, name);
  const end = (): void => {
    shim.close(); // whatever waits for it ends
  };
  signal.addEventListener("abort", end);
  try {
    signal.throwIfAborted();
    const facts = await shim.describe();
    setPriority(facts.pid, NICE);
    const pod = new PodContext(deps, shim, facts, NO_BUNDLE);
    pod.document.network = NOBODYS_NETWORK;
    await shim.openTap(tapOf(0), NOBODYS_NETWORK.mtu);
    const guest = await prepareGuest(pod, size, new Undo());
    await pod.save();
    const running = new PodGuest(pod);
    const letGo = (): void => {
      running.detach();
    };
    signal.addEventListener("abort", letGo);
    try {
      await running.start(guest);
      const agent = await running.agent();
      const { machine } = running.vmm;
      if (machine !== undefined) await warmGuest(pod, { guest, machine }, agent);
    } finally {
      signal.removeEventListener("abort", letGo);
      running.detach();
    }
    delete pod.document.network;
    pod.document.spare = { name, key, guest: { ...guest, state: "booting" } };
    await pod.save();
    await writeFile(join(dir, READY_FILE), await namespacesOf(facts.pid));
    return shim;
  } catch (cause) {
    shim.close();
    throw cause;
  } finally {
    signal.removeEventListener("abort", end);
  }
}

/** What it mounts is seen there, and its process ids are those of the claimer. */
async function namespacesOf(pid: number): Promise<string> {
  const links = ["mnt", "pid"].map((name) => readlink(`/proc/${pid}/ns/${name}`));
  return (await Promise.all(links)).join("\n");
}
