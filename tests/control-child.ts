// trine-control as it ships, a process of its own on the API server of these tests, with the rights of its account.
import { join } from "node:path";
import { pollUntil } from "@trine/base";
import { type Secret, SECRETS, type Stored } from "@trine/kube-client";
import { LoggedProcess, freePort } from "@trine/testkit";
import { command, install } from "../bench/control-program.ts";
import type { ControlUnderTest } from "./control-under-test.ts";

export const SYSTEM = "trine-system";
/** Of the aggregated API. */
export const VERSION = "/apis/subresources.kubevirt.io/v1/version";
const LONG_MS = 90_000;
const REGISTERED = [
  "apiservices.apiregistration.k8s.io",
  "validatingwebhookconfigurations",
  "mutatingwebhookconfigurations",
];

/** One API port for all processes: the leader registers it, whoever has role `api` or `all` listens there. */
export class ControlChildren {
  readonly #control: ControlUnderTest;
  readonly #api: number;
  readonly #all: ControlChild[] = [];

  private constructor(control: ControlUnderTest, api: number) {
    this.#control = control;
    this.#api = api;
  }

  static async prepare(control: ControlUnderTest): Promise<ControlChildren> {
    const api = await freePort();
    await install(control.plane, api);
    return new ControlChildren(control, api);
  }

  /** `server`: where it finds the API server, if not at its own address. */
  async start(role: "controllers" | "api" | "all", server?: string): Promise<ControlChild> {
    const { dir, plane } = this.#control;
    const health = await freePort();
    const of = { dir, api: this.#api, health, role, ...(server !== undefined && { server }) };
    const log = join(dir, `trine-control-${role}.log`);
    const words = await command(plane, of);
    const child = new ControlChild(new LoggedProcess(`trine-control ${role}`, words, log), health);
    this.#all.push(child);
    await child.start();
    await child.untilReady();
    return child;
  }

  /** The API server reaches our API and knows our webhooks. */
  async untilServed(): Promise<void> {
    const { kubectl } = this.#control.plane;
    await pollUntil("the API is served", { ms: LONG_MS, everyMs: 250 }, async () => {
      const told = await kubectl.run("get", "--raw", VERSION).catch(() => "");
      const hooks = await kubectl.run("get", "validatingwebhookconfigurations", "-o", "name");
      return (told.includes("gitVersion") && hooks.includes("virt-api-validator")) || undefined;
    });
  }

  /** Nothing is left that nobody answers. */
  async stop(): Promise<void> {
    const { plane } = this.#control;
    for (const child of this.#all) await child.stop();
    for (const kind of REGISTERED) {
      const { items } = await plane.kubectl.get<{ items: { metadata: { name: string } }[] }>(kind);
      const ours = items
        .map(({ metadata }) => metadata.name)
        .filter((name) => /^virt-api|kubevirt\.io$/.test(name));
      if (ours.length > 0) await plane.kubectl.run("delete", kind, ...ours);
    }
    // One that was started last may not have had it yet.
    const lease = ["lease", "trine-control", "--ignore-not-found"];
    await plane.kubectl.run("-n", SYSTEM, "delete", ...lease);
  }
}

export class ControlChild {
  readonly #process: LoggedProcess;
  readonly #health: number;

  constructor(process: LoggedProcess, health: number) {
    this.#process = process;
    this.#health = health;
  }

  start(): Promise<void> {
    return this.#process.start();
  }

  untilReady(): Promise<void> {
    const ready = `http://127.0.0.1:${this.#health}/readyz`;
    return this.#process.untilReady(() =>
      fetch(ready).then(
        ({ ok }) => ok,
        () => false, // it does not listen yet
      ),
    );
  }

  /** As a crash would. */
  kill(): Promise<void> {
    return this.#process.end("SIGKILL");
  }

  stop(): Promise<void> {
    return this.#process.end();
  }

  log(): Promise<string> {
    return this.#process.logTail(20);
  }
}

/** A Secret of the program's, once the leader has made it. */
export function secretOf({ client }: ControlUnderTest, name: string): Promise<Stored<Secret>> {
  return pollUntil(`secret ${name}`, { ms: LONG_MS }, () =>
    client.get(SECRETS, { namespace: SYSTEM, name }).catch(() => undefined),
  );
}
