import { mkdir, readdir, rename } from "node:fs/promises";
import { join } from "node:path";
import { TrineError } from "@trine/base";
import { cacheDir, exists } from "./cache.ts";
import { runCommand } from "./run-command.ts";

export interface DebianPackage {
  name: string;
  version: string;
}

/** The versions apt would install now; refreshes apt's lists when it knows one of the names not. */
export async function resolvePackages(names: readonly string[]): Promise<DebianPackage[]> {
  const known = await candidates(names);
  if (known.length === names.length) return known;
  await runCommand("apt-get", ["update", "-qq"]);
  const again = await candidates(names);
  if (again.length === names.length) return again;
  const missing = names.filter((name) => !again.some((found) => found.name === name));
  throw new TrineError("notFound", `apt has no package ${missing.join(", ")}`);
}

async function candidates(names: readonly string[]): Promise<DebianPackage[]> {
  const text = await runCommand("apt-cache", ["policy", ...names], { env: { LC_ALL: "C" } });
  return [...text.matchAll(/^(\S+):\n {2}Installed: .*\n {2}Candidate: (\S+)$/gm)]
    .map(([, name = "", version = ""]) => ({ name, version }))
    .filter(({ version }) => version !== "(none)");
}

/** The smaller one for machines in clouds, or that for every machine, which has 9p and virtio-mem. */
export type DebianKernel = "cloud" | "generic";

/** The kernel package that `linux-image-cloud-amd64` or `linux-image-amd64` stands for now. */
export async function kernelPackage(kind: DebianKernel): Promise<string> {
  const meta = kind === "cloud" ? "linux-image-cloud-amd64" : "linux-image-amd64";
  await resolvePackages([meta]);
  const text = await runCommand("apt-cache", ["depends", meta]);
  const name = /Depends: (linux-image-\S+)/.exec(text)?.[1];
  if (name === undefined) throw new TrineError("notFound", `apt knows no kernel for ${meta}`);
  return name;
}

/** Unpacks packages (not their dependencies, no scripts) into `dir`; nothing is installed. */
export async function unpackPackages(
  packages: readonly DebianPackage[],
  dir: string,
): Promise<void> {
  await mkdir(dir, { recursive: true });
  for (const wanted of packages) {
    await runCommand("dpkg-deb", ["-x", await download(wanted), dir]);
  }
}

async function download({ name, version }: DebianPackage): Promise<string> {
  const store = join(cacheDir(), "debs", `${name}_${version}`);
  if (!(await exists(store))) {
    const making = `${store}.making-${process.pid}`;
    await mkdir(making, { recursive: true });
    // apt's own user may not enter here: it says so on stderr and downloads as root.
    await runCommand("apt-get", ["download", "-qq", `${name}=${version}`], { cwd: making });
    await rename(making, store);
  }
  const file = (await readdir(store)).find((entry) => entry.endsWith(".deb"));
  if (file === undefined) throw new TrineError("internal", `${store} holds no package`);
  return join(store, file);
}
