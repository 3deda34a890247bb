import { execFile } from "node:child_process";
import { readFile, readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { TrineError, messageOf } from "@trine/base";
import type { DescribeResponse } from "@trine/proto/shim";
import { ShimLink } from "@trine/shim-client";
import type { EngineDeps } from "./deps.ts";
import type { MachineFigures } from "./machine-figures.ts";
import { Pod } from "./pod.ts";
import type { PodSummary } from "./pod-summary.ts";
import type { PodRef } from "./requests.ts";

const run = promisify(execFile);
const CONNECT_MS = 5_000;
const FIGURES_MS = 2_000;
/** A pod directory without a socket may be one whose shim is just starting. */
const STARTING_MS = 60_000;

/** All pods of this node. Processes are the truth: the engine only finds them and acts on them. */
export class Engine {
  readonly #deps: EngineDeps;
  readonly #pods = new Map<string, Promise<Pod>>();
  readonly #end = new AbortController();

  constructor(deps: EngineDeps) {
    this.#deps = deps;
  }

  /** Finds the pods an earlier daemon left: adopts the living, cleans after the dead. */
  async adoptAll(): Promise<{ adopted: number; cleaned: number }> {
    const podsDir = join(this.#deps.config.stateDir, "pods");
    const names = await readdir(podsDir).catch(() => []);
    const alive = await Promise.all(names.map((name) => this.#adoptOrClean(join(podsDir, name))));
    const living = new Set(names.filter((_, index) => alive[index]));
    const cleaned = names.length - living.size + (await this.#cleanDisk(living));
    return { adopted: living.size, cleaned };
  }

  /** The pod of a relayed call; adopted when this is the first call of it. */
  pod(ref: PodRef): Promise<Pod> {
    const key = `${ref.namespace}/${ref.sandboxId}`;
    return this.#pods.get(key) ?? this.#adopt(key, ref.address);
  }

  async list(): Promise<PodSummary[]> {
    const settled = await Promise.allSettled(this.#pods.values());
    return settled
      .filter((result) => result.status === "fulfilled")
      .map((result) => result.value.summary());
  }

  /** Figures of every running machine; one that does not answer in time is left out. */
  async figures(): Promise<{ pod: PodSummary; figures: MachineFigures }[]> {
    const pods = await Promise.allSettled(this.#pods.values());
    const found = await Promise.all(
      pods.map(async (result) => {
        if (result.status === "rejected") return undefined;
        const { value: pod } = result;
        const figures = await pod.figures(AbortSignal.timeout(FIGURES_MS)).catch(() => undefined);
        return figures === undefined ? undefined : { pod: pod.summary(), figures };
      }),
    );
    return found.filter((each) => each !== undefined);
  }

  /** Lets go of every pod; they all run on. */
  async detach(): Promise<void> {
    this.#end.abort();
    for (const pod of await Promise.allSettled(this.#pods.values())) {
      if (pod.status === "fulfilled") pod.value.detach();
    }
    this.#pods.clear();
  }

  #adopt(key: string, address: string): Promise<Pod> {
    const adopting = this.#connect(key, address);
    this.#pods.set(key, adopting);
    adopting.then(
      (pod) => {
        this.#follow(key, pod);
      },
      () => this.#pods.delete(key), // the caller has the error; the next call tries again
    );
    return adopting;
  }

  async #connect(key: string, address: string): Promise<Pod> {
    const shim = await ShimLink.open(address, AbortSignal.timeout(CONNECT_MS));
    try {
      const facts = await shim.describe();
      requirePod(key, facts);
      return await Pod.adopt(this.#deps, shim, facts);
    } catch (cause) {
      shim.close();
      throw TrineError.during(`adopt the pod at ${address}`, cause);
    }
  }

  #follow(key: string, pod: Pod): void {
    const { log } = this.#deps;
    pod.follow(this.#end.signal).catch((cause: unknown) => {
      if (!this.#end.signal.aborted) {
        log.debug({ pod: pod.identity.name, err: messageOf(cause) }, "shim's events ended");
      }
    });
    void pod.shimClosed.then(async () => {
      if (this.#end.signal.aborted) return;
      this.#pods.delete(key);
      log.info({ pod: pod.identity.name, sandbox: pod.identity.sandboxId }, "pod is gone");
      await pod.dispose().catch((cause: unknown) => {
        log.error({ err: messageOf(cause), pod: pod.identity.name }, "cleaning a pod failed");
      });
    });
  }

  /** True when a shim answers; else removes what it left. */
  async #adoptOrClean(podDir: string): Promise<boolean> {
    const { log } = this.#deps;
    const address = join(podDir, "shim.sock");
    try {
      const shim = await ShimLink.open(address, AbortSignal.timeout(CONNECT_MS));
      const { namespace, sandboxId } = await shim.describe().finally(() => {
        shim.close();
      });
      await this.pod({ namespace, sandboxId, address });
      return true;
    } catch (cause) {
      if (!(await isDead(podDir, address, cause))) {
        log.error({ podDir, err: messageOf(cause) }, "a pod could not be adopted");
        return true;
      }
      log.info({ podDir }, "cleaning after a dead pod");
      await removeDeadPod(podDir);
      return false;
    }
  }

  /** Console logs of pods whose state is gone, as after a reboot of the host. */
  async #cleanDisk(living: ReadonlySet<string>): Promise<number> {
    const dir = join(this.#deps.config.rootDir, "pods");
    const dead = (await readdir(dir).catch(() => [])).filter((name) => !living.has(name));
    await Promise.all(dead.map((name) => rm(join(dir, name), { recursive: true, force: true })));
    return dead.length;
  }
}

/** A call that names one pod and leads to another's shim must not give that pod a second master. */
function requirePod(key: string, { namespace, sandboxId }: DescribeResponse): void {
  const found = `${namespace}/${sandboxId}`;
  if (found === key) return;
  throw new TrineError("invalid", `trine-address leads to the shim of pod ${found}, not of ${key}`);
}

/** Nothing may be deleted through a mount: what is mounted there goes first. */
async function removeDeadPod(podDir: string): Promise<void> {
  const table = await readFile("/proc/self/mountinfo", "utf8");
  const below = table
    .split("\n")
    .map((line) => line.split(" ")[4] ?? "")
    .filter((target) => target.startsWith(`${podDir}/`));
  for (const target of below.reverse()) await run("umount", ["-l", target]);
  await rm(podDir, { recursive: true, force: true });
}

/** A socket nobody listens on belongs to a dead shim; without a socket the shim may be starting. */
async function isDead(podDir: string, address: string, cause: unknown): Promise<boolean> {
  if (!(cause instanceof TrineError) || cause.kind !== "unavailable") return false;
  const hasSocket = await stat(address).then(
    () => true,
    () => false,
  );
  if (hasSocket) return true;
  const { mtimeMs } = await stat(podDir);
  return Date.now() - mtimeMs > STARTING_MS;
}
