import { mkdir, readFile, readdir, rmdir } from "node:fs/promises";
import { join } from "node:path";
import { errnoOf, pollUntil } from "@trine/base";
import { runCommand } from "./run-command.ts";

const CGROUP_ROOT = "/sys/fs/cgroup";

/** Mount points that contain `marker`, deepest last; each as often as it is mounted. */
export async function mountsOf(marker: string): Promise<string[]> {
  const table = await readFile("/proc/self/mountinfo", "utf8");
  return table
    .split("\n")
    .map((line) => (line.split(" ")[4] ?? "").replaceAll("\\040", " "))
    .filter((path) => path.includes(marker));
}

export async function unmountAll(marker: string): Promise<void> {
  for (const path of (await mountsOf(marker)).reverse()) await runCommand("umount", ["-l", path]);
}

/** Makes a cgroup of this name in every hierarchy there is. */
export async function makeCgroup(path: string): Promise<void> {
  const mounts = await readFile("/proc/self/mountinfo", "utf8");
  for (const line of mounts.trim().split("\n")) {
    const [own = "", filesystem = ""] = line.split(" - ");
    const point = own.split(" ")[4];
    if (point !== undefined && /^cgroup2? /.test(filesystem)) {
      await mkdir(join(point, path), { recursive: true });
    }
  }
}

/** Cgroup directories (any hierarchy, as deep as kubelet's go) whose path contains `marker`, parents first. */
export async function cgroupsOf(marker: string): Promise<string[]> {
  const found: string[] = [];
  const visit = async (dir: string, depth: number): Promise<void> => {
    const entries = await readdir(dir, { withFileTypes: true }).catch(() => []);
    for (const entry of entries) {
      if (!entry.isDirectory()) continue;
      const path = join(dir, entry.name);
      if (path.includes(marker)) found.push(path);
      if (depth > 0) await visit(path, depth - 1);
    }
  };
  await visit(CGROUP_ROOT, 7);
  return found;
}

/** Removes these cgroups; waits for processes in them that are just ending. */
export async function removeCgroups(marker: string): Promise<void> {
  for (const path of (await cgroupsOf(marker)).reverse()) {
    await pollUntil(`cgroup ${path} is empty`, { ms: 10_000 }, () => removeCgroup(path));
  }
}

/** Undefined while it is in use. */
async function removeCgroup(path: string): Promise<true | undefined> {
  try {
    await rmdir(path);
  } catch (cause) {
    if (errnoOf(cause) === "EBUSY") return undefined;
    if (errnoOf(cause) !== "ENOENT") throw cause;
  }
  return true;
}

/** Unix sockets with a path that contains `marker`. */
export async function socketsOf(marker: string): Promise<string[]> {
  const table = await readFile("/proc/net/unix", "utf8");
  const paths = table.split("\n").map((line) => line.trim().split(/\s+/)[7] ?? "");
  return [...new Set(paths.filter((path) => path.includes(marker)))];
}

/** Network links of this namespace that are on no foreign bridge: a name each. */
export async function linksOf(ownBridges: readonly string[]): Promise<string[]> {
  const text = await runCommand("ip", ["-json", "link", "show"]);
  const links = JSON.parse(text) as { ifname: string; master?: string }[];
  return links
    .filter(({ ifname, master }) => {
      const bridge = ifname.startsWith("trtk") ? ifname : master;
      return bridge === undefined || ownBridges.includes(bridge);
    })
    .map(({ ifname }) => ifname);
}
