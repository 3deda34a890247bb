import { TrineError } from "@trine/base";
import { guestDevices } from "./guest-devices.ts";
import type { BlockVolume } from "../block-device.ts";
import { list, record, text } from "../json-shape.ts";
import type { JsonObject } from "../json-shape.ts";
import { PROPAGATION, READ_ONLY, readMount } from "../share-mounts.ts";
import type { OciMount, SharedMount } from "../share-mounts.ts";

/** Where the guest has the pod's share, and below it a directory for each container. */
export const GUEST_SHARE = "/run/trine/share";
/** The pod's shared memory, a tmpfs of the guest. */
export const GUEST_SHM = "/run/trine/shm";
/** By this name the agent knows the pod's own PID namespace. */
const POD_PIDS = "/run/trine/pod/ns/pid";
/** And by this one those of a container of the pod. */
const pidsOf = (id: string): string => `/run/trine/container/${id}/ns/pid`;
const MAX_MOUNTS = 1024;

/** File systems a guest makes by itself. */
const OWN_FILE_SYSTEMS = ["proc", "sysfs", "tmpfs", "devpts", "mqueue", "cgroup", "cgroup2"];
/** Of the guest, which is the pod's: what a container does not list is shared. */
const POD_NAMESPACES = ["ipc", "uts", "network"];
const OWN_NAMESPACES = ["mount", "cgroup"];

export interface GuestSpec {
  /** OCI runtime specification for the guest. */
  readonly spec: JsonObject;
  readonly mounts: readonly SharedMount[];
  /** Disks of the guest that the container has as devices. */
  readonly volumes: readonly BlockVolume[];
}

/**
 * What containerd wants of a container, in the guest's terms: paths of the host become paths of the share,
 * what only the host has is left out, what a guest cannot honour is refused (kind `invalid`, with the
 * reason). `id` is the container's in the guest.
 */
export function guestSpec(
  spec: JsonObject,
  container: {
    readonly id: string;
    readonly sandboxId: string;
    /** OCI rlimits of a process for which the specification names none. */
    readonly limits: readonly JsonObject[];
    /** The container of the pod whose processes this one sees; undefined = where it names others', all of the pod's. */
    readonly pidsOf: string | undefined;
  },
): GuestSpec {
  refuseHooks(record(spec["hooks"]));
  const linux = record(spec["linux"]);
  refuseHugePages(list(record(linux["resources"])["hugepageLimits"]));
  const { mounts, shared } = guestMounts(list(spec["mounts"]), container);
  const { devices, volumes, resources } = guestDevices(linux);
  return {
    mounts: shared,
    volumes,
    spec: {
      ociVersion: spec["ociVersion"],
      process: guestProcess(record(spec["process"]), container.limits),
      root: {
        path: `${GUEST_SHARE}/${container.id}/rootfs`,
        readonly: record(spec["root"])["readonly"] === true,
      },
      hostname: spec["hostname"],
      domainname: spec["domainname"],
      mounts,
      linux: {
        namespaces: guestNamespaces(list(linux["namespaces"]), container.pidsOf),
        devices,
        resources,
        sysctl: linux["sysctl"],
        seccomp: linux["seccomp"],
        maskedPaths: linux["maskedPaths"],
        readonlyPaths: linux["readonlyPaths"],
      },
    },
  };
}

function guestProcess(process: JsonObject, limits: readonly JsonObject[]): JsonObject {
  const own = list(process["rlimits"]);
  const named = new Set(own.map((each) => record(each)["type"]));
  return { ...process, rlimits: [...own, ...limits.filter(({ type }) => !named.has(type))] };
}

/** Programs of the node that are to change a container's namespaces and files: of a guest they reach neither. */
function refuseHooks(hooks: JsonObject): void {
  const [kind] = Object.keys(hooks).filter((name) => list(hooks[name]).length > 0);
  if (kind === undefined) return;
  const path = text(record(list(hooks[kind])[0])["path"]);
  throw refusal(
    `OCI hook ${kind} ${path}: hooks run on the node and cannot reach into a microVM; ` +
      "take the container out of what adds it (NRI plugin, CDI device)",
  );
}

/** The node's huge pages are no pages of the guest's. containerd lists every size, most of them with nothing. */
function refuseHugePages(limits: readonly unknown[]): void {
  const [wanted] = limits.map(record).filter(({ limit }) => Number(limit) > 0);
  if (wanted === undefined) return;
  throw refusal(
    `huge pages of ${text(wanted["pageSize"])} are not supported in a microVM, whose guest has none: take hugepages ` +
      "out of the container's resources; madvise gets transparent ones without asking",
  );
}

function guestNamespaces(namespaces: readonly unknown[], target: string | undefined): JsonObject[] {
  const others = target === undefined ? POD_PIDS : pidsOf(target);
  return namespaces.flatMap((each) => {
    const { type, path } = record(each);
    if (POD_NAMESPACES.includes(text(type))) return [];
    if (OWN_NAMESPACES.includes(text(type))) return [{ type }];
    if (type === "pid") return [text(path) === "" ? { type } : { type, path: others }];
    throw refusal(
      `${text(type)} namespaces are not supported in a microVM` +
        (type === "user" ? ": remove hostUsers: false, its root is not the node's as it is" : ""),
    );
  });
}

function guestMounts(
  mounts: readonly unknown[],
  container: { id: string; sandboxId: string },
): { mounts: JsonObject[]; shared: SharedMount[] } {
  if (mounts.length > MAX_MOUNTS) throw refusal(`${mounts.length} mounts, at most ${MAX_MOUNTS}`);
  const shared: SharedMount[] = [];
  const inGuest = mounts.map((each) => {
    const mount = readMount(each);
    if (!mount.isBind) {
      if (OWN_FILE_SYSTEMS.includes(mount.type)) return record(each);
      const what = `a mount of type ${mount.type} on ${mount.destination}`;
      throw refusal(`${what} is not supported in a microVM: mount it on the node`);
    }
    const options = mount.options.filter((option) => !PROPAGATION.includes(option));
    const bind = { destination: mount.destination, type: "bind", options };
    if (isPodShm(mount, container.sandboxId)) return { ...bind, source: GUEST_SHM };
    const name = `m${shared.length}`;
    shared.push({
      name,
      source: mount.source,
      readOnly: options.some((option) => READ_ONLY.includes(option)),
      readOnlyBelow: options.includes("rro"),
      follows: mount.follows,
    });
    return { ...bind, source: `${GUEST_SHARE}/${container.id}/${name}` };
  });
  return { mounts: inGuest, shared };
}

/** containerd's and CRI-O's own /dev/shm of a pod; a volume mounted there is a volume. */
function isPodShm({ destination, source }: OciMount, sandboxId: string): boolean {
  const own = [`/${sandboxId}/shm`, `/${sandboxId}/userdata/shm`];
  return destination === "/dev/shm" && own.some((end) => source.endsWith(end));
}

function refusal(why: string): TrineError {
  return new TrineError("invalid", why);
}
