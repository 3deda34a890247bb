import {
  chmod,
  mkdir,
  mkdtemp,
  readFile,
  readdir,
  readlink,
  stat,
  symlink,
  writeFile,
} from "node:fs/promises";
import { dirname, join } from "node:path";
import type { HandlerTables } from "./containerd-steps.ts";

const DEPLOY = join(import.meta.dirname, "../../../../deploy");

/** A directory in memory: every change of an installation waits for the disk, and a test makes hundreds. */
export function memoryDir(): Promise<string> {
  return mkdtemp("/dev/shm/trine-install-");
}

/** Every path below `root`, with mode and content. */
export async function treeOf(root: string): Promise<Record<string, string>> {
  const entries = await readdir(root, { recursive: true, withFileTypes: true });
  const tree: Record<string, string> = {};
  for (const entry of entries) {
    const path = join(entry.parentPath, entry.name);
    const name = path.slice(root.length);
    if (entry.isSymbolicLink()) tree[name] = `-> ${await readlink(path)}`;
    else {
      const mode = ((await stat(path)).mode & 0o7777).toString(8);
      tree[name] = entry.isDirectory() ? `${mode}/` : `${mode} ${await readFile(path, "utf8")}`;
    }
  }
  return tree;
}

/** Files by path; a value that begins with `-> ` is a link. Also /usr, /etc and /var/lib, as every node has them. */
export async function makeRoot(
  root: string,
  files: Readonly<Record<string, string>>,
): Promise<void> {
  for (const dir of ["/usr/local/bin", "/etc", "/var/lib"]) {
    await mkdir(join(root, dir), { recursive: true });
  }
  for (const [path, text] of Object.entries(files)) {
    const place = join(root, path);
    await mkdir(dirname(place), { recursive: true });
    if (text.startsWith("-> ")) await symlink(text.slice(3), place);
    else await writeFile(place, text);
  }
}

/** What `make install` lays below a prefix, with small files for programs. */
export async function makePrefix(prefix: string): Promise<void> {
  const units = ["trined.service", "trine-lxcfs.service"];
  const programs = ["trine", "trined", "trine-p9", "containerd-shim-trine-v2", "other"];
  await makeRoot(prefix, {
    ...Object.fromEntries(programs.map((name) => [`bin/${name}`, `#!/bin/sh\necho ${name}\n`])),
    "bin/containerd-shim-trine-vm-v2": "-> containerd-shim-trine-v2",
    "lib/trine/trined.mjs": "run();\n",
    "lib/trine/chunks/a.mjs": "a();\n",
    ...Object.fromEntries(units.map((unit) => [`lib/systemd/system/${unit}`, "[Unit]\n"])),
    "share/trine/kubernetes/runtimeclasses.yaml": await deployed("kubernetes/runtimeclasses.yaml"),
  });
  await mkdir(join(prefix, "share/trine/containerd"));
  for (const name of await readdir(join(DEPLOY, "containerd"))) {
    const text = await deployed(`containerd/${name}`);
    await writeFile(join(prefix, "share/trine/containerd", name), text);
  }
  for (const name of programs) await chmod(join(prefix, "bin", name), 0o755);
}

/** gVisor's two programs, as far as their version goes. */
export async function makeGvisor(dir: string): Promise<void> {
  for (const name of ["runsc", "containerd-shim-runsc-v1"]) {
    await makeRoot(dir, { [name]: "#!/bin/sh\necho release-1\n" });
    await chmod(join(dir, name), 0o755);
  }
}

export async function handlerTables(): Promise<HandlerTables> {
  const read = async (name: string): Promise<Record<2 | 3, string>> => ({
    2: await deployed(`containerd/${name}-1.toml`),
    3: await deployed(`containerd/${name}-2.toml`),
  });
  return { trine: await read("containerd"), gvisor: await read("gvisor") };
}

function deployed(path: string): Promise<string> {
  return readFile(join(DEPLOY, path), "utf8");
}
