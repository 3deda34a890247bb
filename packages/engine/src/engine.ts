import { execFile } from "node:child_process";
import { readFile, readdir, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { promisify } from "node:util";
import { TrineError, messageOf, sleep } from "@trine/base";
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
const RETRY_MS = { first: 500, longest: 30_000 };

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
    const names = await namesIn(podsDir);
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
        this.#follow(key, pod, address);
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

  #follow(key: string, pod: Pod, address: string): void {
    const { log } = this.#deps;
    pod.follow(this.#end.signal).catch((cause: unknown) => {
      if (!this.#end.signal.aborted) {
        log.debug({ pod: pod.identity.name, err: messageOf(cause) }, "shim's events ended");
      }
    });
    void pod.shimClosed.then(async () => {
      if (this.#end.signal.aborted) return;
      this.#pods.delete(key);
      pod.detach();
      if (await answers(address)) {
        log.warn({ pod: pod.identity.name }, "the connection to a living shim was lost");
        await this.#adoptOrClean(dirname(address), { key, waitMs: RETRY_MS.first });
        return;
      }
      log.info({ pod: pod.identity.name, sandbox: pod.identity.sandboxId }, "pod is gone");
      await pod.dispose().catch((cause: unknown) => {
        log.error({ err: messageOf(cause), pod: pod.identity.name }, "cleaning a pod failed");
      });
    });
  }

  /**
   * True when a shim answers, also one whose pod cannot be adopted now: that is tried again until it
   * is adopted or dead. False when it is dead: what it left is removed. `key` once it is known.
   */
  async #adoptOrClean(
    podDir: string,
    turn: { key?: string; waitMs: number } = { waitMs: RETRY_MS.first },
  ): Promise<boolean> {
    const { log, uids, config } = this.#deps;
    const address = join(podDir, "shim.sock");
    let key = turn.key;
    try {
      const shim = await openUnlessDead(podDir, address);
      if (shim === undefined) {
        log.info({ podDir }, "cleaning after a dead pod");
        if (key !== undefined) uids.release(key);
        await removeDeadPod(podDir);
        await rm(join(config.rootDir, "pods", basename(podDir)), { recursive: true, force: true });
        return false;
      }
      const { namespace, sandboxId } = await shim.describe().finally(() => {
        shim.close();
      });
      key = `${namespace}/${sandboxId}`;
      await this.pod({ namespace, sandboxId, address });
    } catch (cause) {
      log.error({ podDir, err: messageOf(cause) }, "a pod could not be adopted");
      const next = Math.min(2 * turn.waitMs, RETRY_MS.longest);
      void sleep(turn.waitMs, this.#end.signal).then(
        () => this.#adoptOrClean(podDir, { ...(key === undefined ? {} : { key }), waitMs: next }),
        () => undefined, // the daemon ends
      );
    }
    return true;
  }

  /** Console logs of pods whose state is gone, as after a reboot of the host. */
  async #cleanDisk(living: ReadonlySet<string>): Promise<number> {
    const dir = join(this.#deps.config.rootDir, "pods");
    const dead = (await namesIn(dir)).filter((name) => !living.has(name));
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

/** Undefined when the pod is dead: nobody listens on its socket, or it has had none for too long. */
async function openUnlessDead(podDir: string, address: string): Promise<ShimLink | undefined> {
  try {
    return await ShimLink.open(address, AbortSignal.timeout(CONNECT_MS));
  } catch (cause) {
    const code = errnoOf(cause);
    if (code === "ECONNREFUSED") return undefined;
    // Without a socket the shim may be starting.
    if (code === "ENOENT" && (await ageMs(podDir)) > STARTING_MS) return undefined;
    throw cause;
  }
}

/** False only when nobody can be there: a failure of another kind says nothing about the shim. */
async function answers(address: string): Promise<boolean> {
  try {
    (await ShimLink.open(address, AbortSignal.timeout(CONNECT_MS))).close();
    return true;
  } catch (cause) {
    return !["ECONNREFUSED", "ENOENT"].includes(errnoOf(cause) ?? "");
  }
}

/** Since something was made in the directory; infinite when there is none. */
async function ageMs(dir: string): Promise<number> {
  const found = await stat(dir).catch((cause: unknown) => {
    if (errnoOf(cause) === "ENOENT") return undefined;
    throw cause;
  });
  return found === undefined ? Infinity : Date.now() - found.mtimeMs;
}

/** Empty when there is no such directory. Any other failure must not pass for "no pods". */
async function namesIn(dir: string): Promise<string[]> {
  return readdir(dir).catch((cause: unknown) => {
    if (errnoOf(cause) === "ENOENT") return [];
    throw cause;
  });
}

function errnoOf(cause: unknown): string | undefined {
  for (let error = cause; error instanceof Error; error = error.cause) {
    if ("code" in error && typeof error.code === "string") return error.code;
  }
  return undefined;
}
