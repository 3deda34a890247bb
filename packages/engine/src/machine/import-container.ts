import { lstat, mkdir, readlink, rm, symlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import { TrineError, errnoOf } from "@trine/base";
import { list, record, text } from "../json-shape.ts";
import type { JsonObject } from "../json-shape.ts";
import { importLinux, podMounts } from "./import-limits.ts";

/** The node's program that fills volumes, run as the process of a pod's container. */
export interface Importer {
  /** Node's own. */
  readonly node: string;
  /** Its script; what that loads lies beside it. */
  readonly program: string;
}

/** Where one container's import is, on the host. */
interface ImportFiles {
  /** The root of its process: never the image's. */
  readonly root: string;
  /** What it says of itself, and its socket. */
  readonly say: string;
}

/** As the process sees them. */
const HOME = "/trine";
const PROGRAM_DIR = `${HOME}/program`;
const NODE = `${HOME}/node`;
const IMAGE = `${HOME}/image`;
const SAY = `${HOME}/say`;
/** Of the host: programs that unpack and convert, and what they are made of. */
const SYSTEM = ["bin", "sbin", "lib", "lib64"];
const LOADER_CACHE = "/etc/ld.so.cache";
const READ_ONLY = ["rbind", "ro", "nosuid", "nodev"];
/** What of its environment is passed on: others change what programs run. */
const KEPT = /^(https?_proxy|no_proxy)=/i;
/** To make jails for what reads the disk's bytes, and to write what any volume holds. */
const CAPABILITIES = [
  "CAP_CHOWN",
  "CAP_DAC_OVERRIDE",
  "CAP_FOWNER",
  "CAP_KILL",
  "CAP_SETGID",
  "CAP_SETPCAP",
  "CAP_SETUID",
  "CAP_SYS_ADMIN",
  "CAP_SYS_CHROOT",
];

/** Of all a pod's imports, a directory each. */
export function importsDir(podDir: string): string {
  return join(podDir, "imports");
}

export function importFiles(podDir: string, container: string): ImportFiles {
  const dir = join(importsDir(podDir), container);
  return { root: join(dir, "root"), say: join(dir, "say") };
}

/** Makes the directories that the process finds itself in, anew: what an earlier one said is over. Repeatable. */
export async function makeImportFiles({ root, say }: ImportFiles): Promise<void> {
  await rm(dirname(root), { recursive: true, force: true });
  await mkdir(root, { recursive: true, mode: 0o755 });
  await mkdir(say, { recursive: true, mode: 0o700 });
  for (const name of SYSTEM) {
    const target = await linkAt(`/${name}`);
    if (target !== undefined) await symlink(target, join(root, name));
  }
}

/** Undefined for what is a directory or not there. */
async function linkAt(path: string): Promise<string | undefined> {
  return readlink(path).catch((cause: unknown) => {
    if (["EINVAL", "ENOENT"].includes(errnoOf(cause) ?? "")) return undefined;
    throw cause;
  });
}

/** The directories of the host that are to be mounted: those that are no links. */
export async function systemDirs(): Promise<readonly string[]> {
  const found = await Promise.all(
    SYSTEM.map(async (name) => {
      const stats = await lstat(`/${name}`).catch(() => undefined);
      return stats?.isDirectory() === true ? [`/${name}`] : [];
    }),
  );
  return ["/usr", ...found.flat()];
}

/**
 * The OCI spec of a container whose process is the node's importer: volumes and devices at the places of an import, limits and
 * network are as the pod says; program, root, user and rights are the node's. The image is there to be read, below /trine/image.
 */
export function importSpec(
  spec: JsonObject,
  importer: Importer,
  at: { readonly files: ImportFiles; readonly bundle: string; readonly system: readonly string[] },
): JsonObject {
  const said = record(spec["process"]);
  const env = list(said["env"])
    .map(text)
    .filter((each) => KEPT.test(each));
  const script = importer.program.slice(dirname(importer.program).length);
  const binds = [
    ...at.system.map((path) => ({ destination: path, source: path })),
    { destination: LOADER_CACHE, source: LOADER_CACHE },
    { destination: PROGRAM_DIR, source: dirname(importer.program) },
    { destination: NODE, source: importer.node },
    { destination: IMAGE, source: join(at.bundle, "rootfs") },
  ].map((bind) => ({ ...bind, type: "bind", options: READ_ONLY }));
  const say = { destination: SAY, source: at.files.say, type: "bind", options: ["rbind", "rw"] };
  return {
    ...spec,
    root: { path: at.files.root, readonly: true },
    mounts: [...podMounts(list(spec["mounts"])), ...binds, say],
    linux: importLinux(record(spec["linux"])),
    process: {
      args: [NODE, `${PROGRAM_DIR}${script}`, "import-volume", orderOf(said)],
      cwd: "/",
      env: ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", ...env],
      user: { uid: 0, gid: 0 },
      terminal: false,
      capabilities: {
        bounding: CAPABILITIES,
        effective: CAPABILITIES,
        permitted: CAPABILITIES,
      },
      ...(said["rlimits"] === undefined ? {} : { rlimits: said["rlimits"] }),
      ...(said["oomScoreAdj"] === undefined ? {} : { oomScoreAdj: said["oomScoreAdj"] }),
    },
  };
}

/** The last word of what the pod's container is to run. */
function orderOf(said: JsonObject): string {
  const order = text(list(said["args"]).at(-1));
  if (order !== "") return order;
  throw new TrineError("invalid", "trine.dev/imports: its container's last argument is the order");
}
