// The image trine.dev/control as an OCI archive: Node, the libraries it is linked with, the bundled program. Nothing else is in it,
// no shell either. The same inputs give the same bytes.
import { execFile } from "node:child_process";
import {
  chmod,
  copyFile,
  mkdir,
  mkdtemp,
  readFile,
  readdir,
  rm,
  writeFile,
} from "node:fs/promises";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { writeOciArchive } from "../packages/testkit/src/oci-archive.ts";

const run = promisify(execFile);
/** Nobody's: no account has it. */
const USER = 65_532;
const PLACE = "/usr/lib/trine";

/** Writes `dist/trine-control.oci.tar` of what lies in `dist`; answers its path. */
export async function writeControlImage(of: {
  readonly dist: string;
  readonly node: string;
  readonly version: string;
}): Promise<string> {
  const root = await mkdtemp(join(of.dist, ".control-image-"));
  const target = join(of.dist, "trine-control.oci.tar");
  try {
    await fill(root, of);
    const config = {
      Entrypoint: [`${PLACE}/node`, `${PLACE}/trine-control.mjs`],
      User: `${USER}:${USER}`,
      WorkingDir: "/",
      // glibc would keep what was freed in up to eight arenas for each processor.
      Env: ["NODE_ENV=production", "MALLOC_ARENA_MAX=2"],
      Labels: { "org.opencontainers.image.version": of.version },
    };
    await writeOciArchive({ name: `trine.dev/control:${of.version}`, root, config }, target);
  } finally {
    await rm(root, { recursive: true });
  }
  return target;
}

async function fill(root: string, { dist, node }: { dist: string; node: string }): Promise<void> {
  const place = join(root, PLACE);
  await mkdir(join(place, "chunks"), { recursive: true });
  await put(node, join(place, "node"), 0o755);
  for (const name of await programFiles(dist)) {
    await put(join(dist, name), join(place, name), 0o644);
  }
  for (const library of await libraries(node)) await put(library, join(root, library), 0o755);
  // Where volumes and the kernel's file systems are mounted.
  for (const dir of ["etc", "tmp", "proc", "sys", "dev", "run"]) {
    await mkdir(join(root, dir), { recursive: true });
    await chmod(join(root, dir), 0o755);
  }
  await writeFile(join(root, "etc/passwd"), `trine:x:${USER}:${USER}::/:/nonexistent\n`);
  await writeFile(join(root, "etc/group"), `trine:x:${USER}:\n`);
}

/** The program and the chunks that it imports, and those that they import. */
async function programFiles(dist: string): Promise<readonly string[]> {
  const there = new Set((await readdir(join(dist, "chunks"))).map((name) => `chunks/${name}`));
  const found = new Set(["trine-control.mjs"]);
  for (const name of found) {
    const text = await readFile(join(dist, name), "utf8");
    for (const [, file = ""] of text.matchAll(/["']\.\/(?:chunks\/)?([\w.-]+\.mjs)["']/g)) {
      if (there.has(`chunks/${file}`)) found.add(`chunks/${file}`);
    }
  }
  return [...found].sort();
}

/** As the dynamic linker of the machine that builds finds them. */
async function libraries(program: string): Promise<readonly string[]> {
  const { stdout } = await run("ldd", [program]);
  if (stdout.includes("not found")) throw new Error(`${program} lacks libraries:\n${stdout}`);
  return [...stdout.matchAll(/(\/\S+) \(0x/g)].map(([, path = ""]) => path);
}

async function put(from: string, to: string, mode: number): Promise<void> {
  await mkdir(dirname(to), { recursive: true });
  await copyFile(from, to);
  await chmod(to, mode);
  await chmod(dirname(to), 0o755);
}
