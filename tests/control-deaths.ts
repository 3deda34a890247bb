// The program that leads dies between any two of its writes of a machine's start, stop, restart and end. Another process serves
// the API and the webhooks meanwhile, as in a cluster with two of them; nodes and their doors are the test's.
import { kindOf, pollUntil } from "@trine/base";
import {
  LEASES,
  ListWatchCache,
  PODS,
  type Pod,
  type Stored,
  resourceOf,
} from "@trine/kube-client";
import { VIRTUAL_MACHINE, VIRTUAL_MACHINE_INSTANCE } from "@trine/kube-types";
import { VirtctlClient } from "@trine/testkit";
import { afterAll, beforeAll, expect, test } from "vitest";
import { machine } from "../bench/control-program.ts";
import { HollowNodes } from "../bench/hollow-nodes.ts";
import { type ControlChild, type ControlChildren, SYSTEM } from "./control-child.ts";
import type { ControlUnderTest } from "./control-under-test.ts";
import { type Death, KillingProxy } from "./killing-proxy.ts";
import { SOAK } from "./node-under-test.ts";

const LONG_MS = 90_000;
const NAMESPACE = "default";
const MACHINES = resourceOf(VIRTUAL_MACHINE);
const INSTANCES = resourceOf(VIRTUAL_MACHINE_INSTANCE);
/** Of the machine's objects; what the program says of itself, and of what has happened, is left out. */
const COUNTED = /\/namespaces\/default\/(?!events)/;
/** A life takes some fifty writes. */
const EVERY = 4;

export function deathTests(control: () => ControlUnderTest, children: () => ControlChildren): void {
  let proxy: KillingProxy;
  let virtctl: VirtctlClient;
  let leads: ControlChild;
  let serves: ControlChild;
  let nodes: HollowNodes;
  let seen: Seen;

  beforeAll(async () => {
    const { plane, client } = control();
    proxy = await KillingProxy.start(plane, (path) => COUNTED.test(path));
    leads = await children().start("controllers", proxy.url);
    serves = await children().start("api");
    nodes = await HollowNodes.start({ plane, client, count: 1 });
    await children().untilServed();
    virtctl = await VirtctlClient.as(plane);
    seen = new Seen(control());
  }, 3 * LONG_MS);

  afterAll(async () => {
    virtctl.close();
    await seen.stop();
    await leads.stop();
    await serves.stop();
    await nodes.stop();
    await proxy.stop();
  });

  /** A whole life, whose leader dies where `plan` says so; answers how many writes it took. */
  async function live(name: string, plan: (write: number) => Death | undefined): Promise<number> {
    const revived: Promise<void>[] = [];
    proxy.plan(plan, () => revived.push(nextLeader()));
    try {
      await wholeLife(name);
    } catch (cause) {
      const where = proxy.deaths.join(", ");
      throw new Error(`${name}, whose leader died ${where}: ${await leads.log()}`, { cause });
    } finally {
      await Promise.all(revived);
    }
    return proxy.written;
  }

  async function nextLeader(): Promise<void> {
    await leads.kill();
    // Nobody waits here for the end of a dead one's lease.
    await control().client.delete(LEASES, { namespace: SYSTEM, name: "trine-control" });
    proxy.revive();
    await leads.start();
  }

  async function ask(word: "start" | "stop" | "restart", name: string): Promise<void> {
    expect((await virtctl[word](name)).code).toBe(202);
  }

  const until = (name: string, shown: string): Promise<unknown> =>
    pollUntil(`${name} is ${shown}`, { ms: LONG_MS, everyMs: 50 }, async () => {
      const at = { namespace: NAMESPACE, name };
      const { status } = await control().client.get(MACHINES, at);
      return status?.printableStatus === shown || undefined;
    });

  /** It runs in an instance that is none of these. */
  const runs = (name: string, ...others: readonly string[]): Promise<string> =>
    pollUntil(`${name} runs`, { ms: LONG_MS, everyMs: 50 }, async () => {
      const at = { namespace: NAMESPACE, name };
      const vmi = await control().client.get(INSTANCES, at).catch(nothing);
      const isNew = vmi?.status?.phase === "Running" && !others.includes(vmi.metadata.uid);
      return isNew ? vmi.metadata.uid : undefined;
    });

  async function wholeLife(name: string): Promise<void> {
    const { client } = control();
    await client.create(MACHINES, machine(name));
    const first = await runs(name);
    await until(name, "Running");
    await ask("stop", name);
    await until(name, "Stopped");
    await pollUntil(`nothing runs of ${name}`, { ms: LONG_MS, everyMs: 50 }, async () => {
      const left = await seen.left(name);
      return left.length === 0 || undefined;
    });
    await ask("start", name);
    const second = await runs(name, first);
    await until(name, "Running");
    await ask("restart", name);
    const third = await runs(name, first, second);
    await until(name, "Running");
    await client.delete(MACHINES, { namespace: NAMESPACE, name });
    await pollUntil(`${name} is gone`, { ms: LONG_MS, everyMs: 50 }, async () => {
      const there = await client.get(MACHINES, { namespace: NAMESPACE, name }).catch(nothing);
      return there === undefined || undefined;
    });
    await pollUntil(`all of ${name} is seen`, { ms: LONG_MS }, () => {
      const { instances, pods } = seen.of(name);
      return (instances.length > 2 && pods > 2) || undefined;
    });
    expect(seen.of(name)).toEqual({ instances: [first, second, third], pods: 3, atOnce: 1 });
    expect(await seen.left(name)).toEqual([]);
  }

  test(
    "a machine starts, stops, restarts and goes once, whenever its control plane dies",
    async () => {
      const count = await live("straight", () => undefined);
      expect(count).toBeGreaterThan(15);
      if (!SOAK) {
        // One before a write, the next after one, and so on.
        const plan = (write: number): Death | undefined =>
          write % EVERY !== 2 ? undefined : write % (2 * EVERY) === 2 ? "before" : "after";
        await live("some", plan);
        expect(proxy.deaths.length).toBeGreaterThan(3);
        return;
      }
      let deaths = 0;
      for (const when of ["before", "after"] as const) {
        // Lives differ by a few writes, as what comes together is written together: the last of the longest has been met when
        // two in a row are over before their death.
        for (let write = 1, spared = 0; spared < 2; write += 1) {
          await live(`${when}-${write}`, (each) => (each === write ? when : undefined));
          deaths += proxy.deaths.length;
          spared = proxy.deaths.length === 0 ? spared + 1 : 0;
        }
      }
      expect(deaths).toBeGreaterThan(count);
      // After each of them: no process does more than one.
      await live("each", () => "after");
      console.log(`${deaths} deaths at one write each, then ${proxy.deaths.length} in one life`);
    },
    SOAK ? 3_600_000 : 4 * LONG_MS,
  );
}

/** The instances and pods that there ever were, by their machine's name. */
class Seen {
  readonly #control: ControlUnderTest;
  readonly #end = new AbortController();
  readonly #instances = new Map<string, string[]>();
  readonly #pods = new Map<string, string[]>();
  readonly #atOnce = new Map<string, number>();
  readonly #caches: readonly Promise<void>[];

  constructor(control: ControlUnderTest) {
    this.#control = control;
    const { client } = control;
    const onProblem = (): void => undefined;
    const instances = new ListWatchCache(client, INSTANCES, { onProblem });
    instances.onChange((before, after) => {
      if (before !== undefined || after === undefined) return;
      const { name, uid } = after.metadata;
      this.#instances.set(name, [...(this.#instances.get(name) ?? []), uid]);
    });
    const pods = new ListWatchCache(client, PODS, { onProblem });
    pods.onChange((before, after) => {
      if (before !== undefined || after === undefined) return;
      const name = machineOf(after);
      this.#pods.set(name, [...(this.#pods.get(name) ?? []), after.metadata.uid]);
      const now = pods.list(NAMESPACE).filter((each) => machineOf(each) === name).length;
      this.#atOnce.set(name, Math.max(now, this.#atOnce.get(name) ?? 0));
    });
    this.#caches = [instances, pods].map((each) => each.run(this.#end.signal));
  }

  of(name: string): {
    readonly instances: readonly string[];
    readonly pods: number;
    /** The most pods that were there together: two of a machine would write to its disks. */
    readonly atOnce: number;
  } {
    return {
      instances: this.#instances.get(name) ?? [],
      pods: this.#pods.get(name)?.length ?? 0,
      atOnce: this.#atOnce.get(name) ?? 0,
    };
  }

  /** Kinds and names of what the API server has of it, beside the machine itself. */
  async left(name: string): Promise<readonly string[]> {
    const { client } = this.#control;
    const within = { namespace: NAMESPACE };
    const instances = (await client.list(INSTANCES, within)).items
      .filter(({ metadata }) => metadata.name === name)
      .map(() => `instance ${name}`);
    const pods = (await client.list(PODS, within)).items
      .filter((pod) => machineOf(pod) === name)
      .map(({ metadata }) => `pod ${metadata.name}`);
    return [...instances, ...pods];
  }

  async stop(): Promise<void> {
    this.#end.abort();
    await Promise.all(this.#caches);
  }
}

function machineOf({ metadata }: Stored<Pod>): string {
  return metadata.labels?.["vmi.kubevirt.io/id"] ?? "";
}

function nothing(cause: unknown): undefined {
  if (kindOf(cause) !== "notFound") throw cause;
}
