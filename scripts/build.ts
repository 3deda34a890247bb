// `make build`: the Rust programs as static binaries, the daemon and the command line bundled, in dist/.
//   dist/trined.mjs  dist/trine.mjs  dist/bin/containerd-shim-trine{,-vm,-microvm}-v2
//   dist/bin/trine-agent  the guests' first program   dist/bin/trine-p9  serves their shares
//   dist/bin/trine-rootfs  makes images' files
//   dist/chunks/     what a program loads only when it needs it
//   dist/man/man1/   manual pages of the command line
// Whatever cannot be built ends it with an error: nothing is left out silently.
import { spawn } from "node:child_process";
import { chmod, copyFile, mkdir, readdir, rename, rm, stat, symlink } from "node:fs/promises";
import { dirname, join, relative, resolve } from "node:path";
import { build } from "esbuild";

const ROOT = join(import.meta.dirname, "..");
/** TRINE_DIST names another place, as it does for the tests. */
const DIST = process.env["TRINE_DIST"] ?? join(ROOT, "dist");
const RUST_TARGET = "x86_64-unknown-linux-musl";
const SHIM = "containerd-shim-trine-v2";
const BINARIES = [SHIM, "trine-agent", "trine-p9", "trine-rootfs"];
/** containerd finds the shim of runtime type io.containerd.NAME.v2 by this name; the level is in it. */
const SHIM_LINKS = ["containerd-shim-trine-vm-v2", "containerd-shim-trine-microvm-v2"];
const PROGRAMS = [
  { in: "packages/trined/src/main.ts", out: "trined" },
  { in: "packages/cli/src/main.ts", out: "trine" },
];

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

async function bundlePrograms(): Promise<string[]> {
  const { metafile } = await build({
    absWorkingDir: ROOT,
    entryPoints: PROGRAMS,
    outdir: DIST,
    outExtension: { ".js": ".mjs" },
    chunkNames: "chunks/[name]-[hash]",
    bundle: true,
    splitting: true,
    platform: "node",
    format: "esm",
    target: "node26",
    sourcemap: true,
    metafile: true,
    logLevel: "warning",
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
  const outputs = Object.keys(metafile.outputs).map((file) => resolve(ROOT, file));
  await removeOldChunks(new Set(outputs));
  const programs = outputs.filter((file) => dirname(file) === DIST && file.endsWith(".mjs"));
  for (const file of programs) await chmod(file, 0o755);
  return programs;
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
for (const file of built) {
  const { size } = await stat(file);
  console.log(`built ${relative(ROOT, file)} (${Math.ceil(size / 1024)} KiB)`);
}
