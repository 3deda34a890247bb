import { readFile } from "node:fs/promises";
import * as v from "valibot";
import { parse } from "yaml";
import { TrineError, messageOf, errnoOf } from "@trine/base";
import { MIB, bytes, count, oneOf, path } from "./config-values.ts";
import { KubernetesSchema, NodeDoorSchema } from "./door/door-config.ts";
import { GatewaySchema } from "./gateway-config.ts";
import { LxcfsSchema } from "./lxcfs-config.ts";

export const CONFIG_VERSION = "config.trine.dev/v1alpha1";
export const DEFAULT_CONFIG_PATH = "/etc/trine/config.yaml";

const MAX_FILE_BYTES = MIB;
/** (uid_t) -1 and -2 mean nobody. */
const MAX_UID = 2 ** 32 - 3;

// Descriptions say why a field is there.
const Log = v.strictObject({
  level: v.optional(
    v.pipe(
      oneOf("debug", "info", "warn", "error"),
      v.description("info: what changed. debug adds lists and status calls."),
    ),
    "info",
  ),
});

const Uefi = v.strictObject({
  code: v.optional(
    v.pipe(path, v.description("Firmware of machines with trine.dev/firmware: uefi.")),
    "/usr/share/OVMF/OVMF_CODE_4M.fd",
  ),
  vars: v.optional(
    v.pipe(path, v.description("Template of their variables: each machine has a copy.")),
    "/usr/share/OVMF/OVMF_VARS_4M.fd",
  ),
  secureCode: v.optional(
    v.pipe(path, v.description("Firmware of machines with trine.dev/secure-boot: on.")),
    "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd",
  ),
  secureVars: v.optional(
    v.pipe(path, v.description("Template of their variables, with the keys enrolled.")),
    "/usr/share/OVMF/OVMF_VARS_4M.ms.fd",
  ),
});

const Machines = v.pipe(
  v.strictObject({
    qemu: v.optional(
      v.pipe(path, v.description("The VMM's program, 6.2 or later.")),
      "/usr/bin/qemu-system-x86_64",
    ),
    accelerator: v.optional(
      v.pipe(
        oneOf("auto", "kvm", "tcg"),
        v.description(
          "auto boots a probe guest under KVM once and falls back to software emulation (tcg): a /dev/kvm that opens may run no guest.",
        ),
      ),
      "auto",
    ),
    defaultMemoryBytes: v.optional(
      v.pipe(bytes, v.description("Guest memory when neither annotation nor limit says.")),
      512 * MIB,
    ),
    maxDiskBytes: v.optional(
      v.pipe(bytes, v.description("Largest virtual disk an image may claim.")),
      16 * 1024 * 1024 * MIB,
    ),
    consoleSpoolBytes: v.optional(
      v.pipe(bytes, v.description("The console log rotates at this size; two files are kept.")),
      64 * MIB,
    ),
    uidBase: v.optional(
      v.pipe(
        count(1000, "number"),
        v.description(
          "Machines run as uidBase, uidBase + 1, …: ids nobody else may use. The one after the last makes images' files.",
        ),
      ),
      1_900_000_000,
    ),
    uidCount: v.optional(
      v.pipe(count(1, "number"), v.description("Most machines at a time, one id each.")),
      10_000,
    ),
    uefi: v.optional(Uefi, {}),
    powerButtonEveryMs: v.optional(
      v.pipe(
        count(100, "milliseconds"),
        v.description(
          "The power button is pressed again at this interval: guests miss it while they boot.",
        ),
      ),
      5_000,
    ),
    swtpm: v.optional(
      v.pipe(path, v.description("Program that is the TPM of machines with trine.dev/tpm.")),
      "/usr/bin/swtpm",
    ),
    agent: v.optional(
      v.pipe(path, v.description("Our agent's program, for machines with `trine.dev/agent: on`.")),
      "/usr/local/lib/trine/bin/trine-agent",
    ),
    virtiofsd: v.optional(
      v.pipe(
        path,
        v.description(
          "Program that serves volumes to machines. Where it is absent, the one of older QEMU packages, /usr/lib/qemu/virtiofsd.",
        ),
      ),
      "/usr/libexec/virtiofsd",
    ),
    passt: v.optional(
      v.pipe(path, v.description("Program that carries the network of machines bound by passt.")),
      "/usr/bin/passt",
    ),
    nestedShim: v.optional(
      v.pipe(
        path,
        v.description(
          "The node's own runc shim: ordinary containers beside a machine run under it. Where it is absent, one of that name in /usr/local/bin.",
        ),
      ),
      "/usr/bin/containerd-shim-runc-v2",
    ),
  }),
  v.check(
    ({ uidBase, uidCount }) => uidBase + uidCount - 1 <= MAX_UID,
    `uidBase + uidCount leads past the last user id, ${MAX_UID}`,
  ),
);

const Templates = v.strictObject({
  most: v.optional(
    v.pipe(
      count(0, "number"),
      v.description(
        "Templates kept at most: pods go on from one instead of booting. Each holds what its guest has touched of its memory, about 110 MiB; the longest unused goes first. 0: every pod boots.",
      ),
    ),
    2,
  ),
  sizes: v.optional(
    v.pipe(
      v.array(bytes),
      v.maxLength(16),
      v.title("list of numbers of bytes"),
      v.description(
        "Guest memory for which a template is made when the daemon starts, the default memory where the list is empty. Larger pods go on from the largest of these that they hold, and grow; for a smaller one a template is made when the first such pod comes, which itself boots.",
      ),
    ),
    [],
  ),
});

const Pool = v.pipe(
  v.array(
    v.strictObject({
      count: v.pipe(v.number(), v.safeInteger(), v.minValue(0), v.maxValue(256)),
      cpus: v.optional(v.pipe(v.number(), v.safeInteger(), v.minValue(1), v.maxValue(255))),
      memoryBytes: v.optional(bytes),
    }),
  ),
  v.maxLength(16),
  v.title("list of {count, cpus, memoryBytes}; the latter two are the defaults where absent"),
  v.description(
    "Guests that have booted before their pods: `count` of each size are kept, and a pod of that size starts in one. Under software emulation each holds about 100 MiB.",
  ),
);

const Roots = v.strictObject({
  enabled: v.optional(
    v.pipe(
      v.boolean(),
      v.title("true, false"),
      v.description(
        "Roots of containers on disks of their guest. false: all go through the file server, which is slower.",
      ),
    ),
    true,
  ),
  builder: v.optional(
    v.pipe(
      path,
      v.description("Program that writes an image's files into one erofs file, confined."),
    ),
    "/usr/local/bin/trine-rootfs",
  ),
  mkfs: v.optional(
    v.pipe(path, v.description("mkfs.erofs, 1.5 or later: package erofs-utils.")),
    "/usr/bin/mkfs.erofs",
  ),
  maxImageBytes: v.optional(
    v.pipe(bytes, v.description("Largest erofs file: containers of a larger image go on without.")),
    32 * 1024 * MIB,
  ),
  layerBytes: v.optional(
    v.pipe(
      bytes,
      v.description(
        "Size of a container's writable layer as its programs see it. On the node it takes what is written.",
      ),
    ),
    32 * 1024 * MIB,
  ),
});

const Microvms = v.strictObject({
  shim: v.optional(
    v.pipe(
      path,
      v.description("The shim's program, for those that hold a template and not a pod."),
    ),
    "/usr/local/bin/containerd-shim-trine-microvm-v2",
  ),
  guestDir: v.optional(
    v.pipe(
      path,
      v.description("Kernel and initramfs of microvm pods, as `trine guest build` writes them."),
    ),
    "/var/lib/trine/guest",
  ),
  fileServer: v.optional(
    v.pipe(
      path,
      v.description("Program that serves the pod's files to its guest, statically linked."),
    ),
    "/usr/local/bin/trine-p9",
  ),
  roots: v.optional(Roots, {}),
  defaultMemoryBytes: v.optional(
    v.pipe(bytes, v.description("Guest memory when neither annotation nor pod limits say.")),
    512 * MIB,
  ),
  defaultCpus: v.optional(
    v.pipe(
      count(1, "number"),
      v.description("Virtual CPUs when neither annotation, limits nor requests say."),
    ),
    1,
  ),
  bootMs: v.optional(
    v.pipe(
      count(1_000, "milliseconds"),
      v.description(
        "A guest whose agent has not answered by then has failed: software emulation on a busy node needs most of it.",
      ),
    ),
    60_000,
  ),
  pool: v.optional(Pool, []),
  templates: v.optional(Templates, {}),
});

const Logs = v.strictObject({
  maxBytes: v.optional(
    v.pipe(
      bytes,
      v.description(
        "A log of a pod made with `trine run` or `apply` is renamed at this size and begun anew; kubelet does that for its own pods.",
      ),
    ),
    10 * MIB,
  ),
  maxFiles: v.optional(
    v.pipe(
      count(1, "number"),
      v.description("Files kept of one container, with the one being written: kubelet's default."),
    ),
    5,
  ),
  dir: v.optional(
    v.pipe(path, v.description("Where the command line keeps its pods: its TRINE_DATA.")),
    "/var/lib/trine/by-hand",
  ),
  containerd: v.optional(
    v.pipe(path, v.description("containerd's socket: it is what opens the new file.")),
    "/run/containerd/containerd.sock",
  ),
});

/** One versioned file. Each field has its default and the reason beside it; unknown fields are refused. */
export const ConfigSchema = v.strictObject({
  apiVersion: v.literal(CONFIG_VERSION),
  stateDir: v.optional(
    v.pipe(
      path,
      // The longest socket in it: /pods/<29 characters>/machine/qmp.sock.
      v.maxLength(50, "at most 50 characters: sockets lie in it, and their paths hold 107"),
      v.title("absolute path, at most 50 characters"),
      v.description(
        "On tmpfs: sockets and run-time files of pods. The same as ConfigPath of containerd's handlers.",
      ),
    ),
    "/run/trine",
  ),
  rootDir: v.optional(
    v.pipe(path, v.description("On disk: console logs and what is remembered of the host.")),
    "/var/lib/trine",
  ),
  log: v.optional(Log, {}),
  machines: v.optional(Machines, {}),
  microvms: v.optional(Microvms, {}),
  logs: v.optional(Logs, {}),
  gateway: v.optional(GatewaySchema, {}),
  lxcfs: v.optional(LxcfsSchema, {}),
  kubernetes: v.optional(KubernetesSchema, {}),
  nodeDoor: v.optional(NodeDoorSchema, {}),
});

export type Config = v.InferOutput<typeof ConfigSchema>;

/** The defaults, as a node without a file has them. */
export function defaultConfig(): Config {
  return v.parse(ConfigSchema, { apiVersion: CONFIG_VERSION });
}

/** Reads and checks a file; the default path may be absent. Kind `invalid` lists every wrong field. */
export async function loadConfig(file: string | undefined): Promise<Config> {
  const name = file ?? DEFAULT_CONFIG_PATH;
  let text: string;
  try {
    text = await readFile(name, "utf8");
  } catch (cause) {
    const absent = errnoOf(cause) === "ENOENT";
    if (absent && file === undefined) return defaultConfig();
    throw new TrineError(absent ? "notFound" : "unavailable", `config: ${messageOf(cause)}`);
  }
  return parseConfig(text, name);
}

/** `name` is for messages. Kind `malformed` when it is no YAML. */
export function parseConfig(text: string, name: string): Config {
  if (text.length > MAX_FILE_BYTES) {
    throw new TrineError("invalid", `config ${name}: more than ${MAX_FILE_BYTES} characters`);
  }
  let value: unknown;
  try {
    value = parse(text);
  } catch (cause) {
    throw new TrineError("malformed", `config ${name}: ${messageOf(cause).trim()}`);
  }
  const result = v.safeParse(ConfigSchema, value);
  if (result.success) return result.output;
  const lines = result.issues.map((issue) => `  ${v.getDotPath(issue) ?? "file"}: ${say(issue)}`);
  throw new TrineError("invalid", `config ${name} is wrong:\n${lines.join("\n")}`);
}

function say(issue: v.BaseIssue<unknown>): string {
  if (issue.type === "strict_object" && issue.expected === "never") return "there is no such field";
  return issue.message;
}
