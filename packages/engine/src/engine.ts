import { rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { TrineError, messageOf, sleep } from "@trine/base";
import type { DescribeResponse } from "@trine/proto/shim";
import { ShimLink } from "@trine/shim-client";
import type { MachineReport } from "@trine/vmm";
import type { EngineDeps } from "./deps.ts";
import type { MachineFigures } from "./machine-figures.ts";
import { SparePool } from "./guest/spare-pool.ts";
import { Templates } from "./guest/templates.ts";
import { namesIn } from "./names-in.ts";
import { SPARES } from "./pod-files.ts";
import { noteUid } from "./noted-uid.ts";
import { openUnlessDead } from "./open-shim.ts";
import { Pod } from "./pod.ts";
import type { PodSummary } from "./pod-summary.ts";
import { removeDeadPod } from "./remove-dead-pod.ts";
import type { PodRef } from "./requests.ts";

const CONNECT_MS = 5_000;
const FIGURES_MS = 2_000;
const REPORT_MS = 5_000;
const FIRST_LOOK_MS = 20;
const RETRY_MS = { first: 500, longest: 30_000 };

/** All pods of this node. Processes are the truth: the engine only finds them and acts on them. */
export class Engine {
  readonly #deps: EngineDeps;
  readonly #pods = new Map<string, Promise<Pod>>();
  readonly #end = new AbortController();
  readonly #listeners = new Set<() => void>();
  readonly templates: Templates;
  readonly spares: SparePool;

  constructor(deps: EngineDeps) {
    this.#deps = deps;
    this.templates = new Templates(deps);
    this.spares = new SparePool({ ...deps, templates: this.templates });
  }

  /** Finds the pods an earlier daemon left: adopts the living, cleans after the dead. */
  async adoptAll(): Promise<{ adopted: number; cleaned: number }> {
    // Before the pods: one that is claimed meanwhile is found among those.
    const spares = await this.spares.adoptAll();
    const podsDir = join(this.#deps.config.stateDir, "pods");
    const names = await namesIn(podsDir);
    const alive = await Promise.all(names.map((name) => this.#adoptOrClean(join(podsDir, name))));
    const living = new Set(names.filter((_, index) => alive[index]));
    await this.templates.adoptAll();
    this.templates.makeConfigured();
    const forgotten = await this.#cleanDisk("pods", living);
    await this.#cleanDisk(SPARES, spares);
    this.spares.start();
    return { adopted: living.size, cleaned: names.length - living.size + forgotten };
  }

  /** The pod of a relayed call; adopted when this is the first call of it. */
  pod(ref: PodRef): Promise<Pod> {
    const key = `${ref.namespace}/${ref.sandboxId}`;
    return this.#pods.get(key) ?? this.#adopt(key, ref.address);
  }

  /** Whether a pod is one of machines. */
  has(sandboxId: string): boolean {
    return this.#pods.keys().some((key) => key.endsWith(`/${sandboxId}`));
  }

  async list(): Promise<PodSummary[]> {
    const settled = await Promise.allSettled(this.#pods.values());
    return settled
      .filter((result) => result.status === "fulfilled")
      .map((result) => result.value.summary());
  }

  /** The pods of level vm, also those whose machine is not made yet. */
  async machinePods(): Promise<Pod[]> {
    const settled = await Promise.allSettled(this.#pods.values());
    return settled
      .filter((result) => result.status === "fulfilled")
      .map((result) => result.value)
      .filter((pod) => pod.control !== undefined);
  }

  /** Tells that something of some pod is not as it was: ask what. Answers how to stop listening. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Figures of every running machine; one that does not answer in time is left out. */
  async figures(): Promise<{ pod: PodSummary; figures: MachineFigures }[]> {
    const pods = await Promise.allSettled(this.#pods.values());
    const found = await Promise.all(
      pods.map(async (result) => {
        if (result.status === "rejected") return undefined;
        const { value: pod } = result;
        const figures = await pod.figures(AbortSignal.timeout(FIGURES_MS)).catch(() => undefined);
        if (figures === undefined) return undefined;
        const usage = pod.control?.usage;
        return {
          pod: pod.summary(),
          figures: usage === undefined ? figures : { ...figures, usage },
        };
      }),
    );
    return found.filter((each) => each !== undefined);
  }

  /** What the VMM of a pod's machine says of itself. Kinds `notFound` without one, `timeout` when it does not answer. */
  async report(sandboxId: string): Promise<MachineReport> {
    const pods = await Promise.allSettled(this.#pods.values());
    const found = pods.find(
      (each) => each.status === "fulfilled" && each.value.identity.sandboxId === sandboxId,
    );
    const pod = found?.status === "fulfilled" ? found.value : undefined;
    const report = await pod?.report(AbortSignal.timeout(REPORT_MS));
    if (report !== undefined) return report;
    throw new TrineError("notFound", `pod ${sandboxId} runs no machine that this daemon keeps`);
  }

  /** Lets go of every pod; they all run on. */
  async detach(): Promise<void> {
    this.#end.abort();
    for (const pod of await Promise.allSettled(this.#pods.values())) {
      if (pod.status === "fulfilled") pod.value.detach();
    }
    this.#pods.clear();
    await this.spares.detach();
    await this.templates.detach();
  }

  readonly #changed = (): void => {
    for (const listener of this.#listeners) listener();
  };

  #adopt(key: string, address: string): Promise<Pod> {
    const adopting = this.#connect(key, address);
    this.#pods.set(key, adopting);
    adopting.then(
      (pod) => {
        this.#follow(key, pod, address);
        this.#changed();
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
      return await Pod.adopt(
        { ...this.#deps, templates: this.templates, spares: this.spares, changed: this.#changed },
        shim,
        facts,
      );
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
      this.#changed();
      log.info({ pod: pod.identity.name }, "the connection to a pod's shim has ended");
      await sleep(FIRST_LOOK_MS); // a shim that drops every connection must not keep us busy
      await this.#adoptOrClean(dirname(address), { key, waitMs: RETRY_MS.first });
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
      await noteUid(uids, podDir, podDir);
      const shim = await openUnlessDead(podDir);
      if (shim === undefined) {
        await removeDeadPod(podDir);
        // Not before: what ran under it may have been running still.
        for (const owner of [podDir, ...(key === undefined ? [] : [key])]) uids.release(owner);
        await rm(join(config.rootDir, "pods", basename(podDir)), { recursive: true, force: true });
        log.info({ podDir }, "pod is gone");
        return false;
      }
      const { namespace, sandboxId } = await shim.describe().finally(() => {
        shim.close();
      });
      key = `${namespace}/${sandboxId}`;
      await this.pod({ namespace, sandboxId, address });
      uids.release(podDir); // what the pod has of it is its own by name
    } catch (cause) {
      log.error({ podDir, err: messageOf(cause) }, "a pod could be neither adopted nor removed");
      const next = Math.min(2 * turn.waitMs, RETRY_MS.longest);
      void sleep(turn.waitMs, this.#end.signal).then(
        () => this.#adoptOrClean(podDir, { ...(key === undefined ? {} : { key }), waitMs: next }),
        () => undefined, // the daemon ends
      );
    }
    return true;
  }

  /** Console logs of what has no state any more, as after a reboot of the host. */
  async #cleanDisk(of: string, living: ReadonlySet<string>): Promise<number> {
    const dir = join(this.#deps.config.rootDir, of);
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
