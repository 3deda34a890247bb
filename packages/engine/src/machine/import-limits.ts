// What a pod's author may bring into an import: its process is the node's, with rights that no pod's author is given. A file at the
// right place (/etc/ld.so.preload) would be a program of theirs in it.
import { FILL_PLACES } from "@trine/node-door";
import { list, record, text } from "../json-shape.ts";
import type { JsonObject } from "../json-shape.ts";

const { work, target, source, credentials, certificates, headers } = FILL_PLACES;
/** Directories of the pod's volumes. Exactly these: a name below one would lead where a link in the volume says. */
const VOLUMES: ReadonlySet<string> = new Set([
  work,
  target.directory,
  source.directory,
  credentials,
  certificates,
]);
const HEADERS = new RegExp(`^${headers}/\\d{1,2}$`);
/** Files that kubelet makes for every container. */
const FILES: ReadonlySet<string> = new Set([
  "/etc/hosts",
  "/etc/hostname",
  "/etc/resolv.conf",
  "/dev/termination-log",
]);
/** The kernel's own, by place and type. A volume of the pod at such a place is none. */
const KERNEL: ReadonlyMap<string, readonly string[]> = new Map([
  ["/proc", ["proc"]],
  ["/dev", ["tmpfs"]],
  ["/dev/pts", ["devpts"]],
  ["/dev/mqueue", ["mqueue"]],
  ["/sys", ["sysfs"]],
  ["/sys/fs/cgroup", ["cgroup", "cgroup2"]],
]);
const DEVICES: ReadonlySet<string> = new Set([target.device, source.device]);
/** Of volumes: data, and nothing of them runs. */
const DATA = ["nosuid", "nodev", "noexec"];
/** What nothing of an import does, whatever rights it has. */
const NEVER = [
  ...["bpf", "init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load"],
  ...["open_by_handle_at", "perf_event_open", "ptrace", "process_vm_readv", "process_vm_writev"],
  ...["add_key", "keyctl", "request_key", "userfaultfd", "reboot", "swapon", "swapoff", "acct"],
  ...["settimeofday", "clock_settime", "adjtimex", "clock_adjtime", "iopl", "ioperm", "syslog"],
  ...["quotactl", "quotactl_fd", "lookup_dcookie", "nfsservctl", "io_uring_setup"],
];

/** Of all that a pod mounts, what an import has. Pure. */
export function podMounts(mounts: readonly unknown[]): JsonObject[] {
  return mounts.map(record).flatMap((mount) => {
    const at = text(mount["destination"]);
    const type = text(mount["type"]);
    if (KERNEL.get(at)?.includes(type) === true) return [mount];
    if (type !== "bind") return [];
    if (FILES.has(at)) return [mount];
    if (!VOLUMES.has(at) && !HEADERS.test(at)) return [];
    const options = list(mount["options"]).map(text);
    return [{ ...mount, options: [...options.filter((each) => !DATA.includes(each)), ...DATA] }];
  });
}

/** Its namespaces, limits and devices; of seccomp a list of our own, where the node's runtime takes one at all. */
export function importLinux(linux: JsonObject): JsonObject {
  const devices = list(linux["devices"]).map(record);
  const kept = devices.filter(({ path }) => DEVICES.has(text(path)));
  const filter = { names: NEVER, action: "SCMP_ACT_ERRNO", errnoRet: 1 };
  const seccomp = {
    defaultAction: "SCMP_ACT_ALLOW",
    architectures: ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
    syscalls: [filter],
  };
  return {
    ...linux,
    ...(linux["devices"] === undefined ? {} : { devices: kept }),
    ...(linux["seccomp"] === undefined ? {} : { seccomp }),
  };
}
