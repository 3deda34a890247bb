import { mkdir, readFile, rmdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { TrineError, pollUntil } from "@trine/base";

const ROOT = "/sys/fs/cgroup";
const EMPTY_MS = 10_000;

/**
 * The control group for the peer of a machine, beside the machine's pod: a host's CPUs are shared out between
 * groups, so on a busy host a process in none has more of them than a pod has.
 */
export class PeerCgroup {
  readonly #dir: string;

  private constructor(dir: string) {
    this.#dir = dir;
  }

  /** `machinePid`: a process in the cgroup of a container of a pod. Version 1 and 2. */
  static async beside(machinePid: number): Promise<PeerCgroup> {
    const lines = (await readFile(`/proc/${machinePid}/cgroup`, "utf8")).trim().split("\n");
    const groups = lines.map((line) => line.split(":"));
    const cpu = groups.find(([, controllers = ""]) => controllers.split(",").includes("cpu"));
    const unified = groups.find(([, controllers]) => controllers === "");
    const [, controllers = "", path] = cpu ?? unified ?? [];
    if (path === undefined) {
      throw new TrineError("unavailable", `process ${machinePid} is in no cgroup for CPUs`);
    }
    const dir = join(ROOT, controllers, dirname(dirname(path)), "peer");
    await mkdir(dir, { recursive: true });
    return new PeerCgroup(dir);
  }

  async add(pid: number): Promise<void> {
    await writeFile(join(this.#dir, "cgroup.procs"), String(pid));
  }

  async remove(): Promise<void> {
    await pollUntil(`${this.#dir} is empty`, { ms: EMPTY_MS }, async () => {
      const pids = await readFile(join(this.#dir, "cgroup.procs"), "utf8");
      return pids === "" ? true : undefined;
    });
    await rmdir(this.#dir);
  }
}
