// trine-control as it ships on a real etcd and API server, its webhooks in their way, and nodes that are only said to be there.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Undo, kindOf, pollUntil } from "@trine/base";
import { KubeClient, LEASES, readKubeconfig, resourceOf } from "@trine/kube-client";
import { VIRTUAL_MACHINE } from "@trine/kube-types";
import { KubeControlPlane, LoggedProcess, freePort, kubeBinaries } from "@trine/testkit";
import { command, install, machine } from "./control-program.ts";
import { HollowNodes } from "./hollow-nodes.ts";

const MACHINES = resourceOf(VIRTUAL_MACHINE);
const LONG_MS = 120_000;

export class ControlRig {
  readonly client: KubeClient;
  readonly plane: KubeControlPlane;
  readonly #control: LoggedProcess;
  readonly #health: number;
  #nodes: HollowNodes | undefined;
  readonly #undo: Undo;

  private constructor(of: {
    client: KubeClient;
    plane: KubeControlPlane;
    control: LoggedProcess;
    health: number;
    undo: Undo;
  }) {
    this.client = of.client;
    this.plane = of.plane;
    this.#control = of.control;
    this.#health = of.health;
    this.#undo = of.undo;
  }

  static async start(nodes: number): Promise<ControlRig> {
    const undo = new Undo();
    const dir = await mkdtemp(join(tmpdir(), "trine-bench-control-"));
    undo.defer("files", () => rm(dir, { recursive: true, force: true }));
    try {
      const binaries = await kubeBinaries();
      const plane = await KubeControlPlane.start({
        dir,
        binaries,
        address: "127.0.0.1",
        apiOnly: true,
      });
      undo.defer("control plane", () => plane.stop());
      const client = new KubeClient(await readKubeconfig(plane.kubeconfig));
      undo.defer("client", () => {
        client.close();
        return Promise.resolve();
      });
      const [api, health] = [await freePort(), await freePort()];
      await install(plane, api);
      const control = new LoggedProcess(
        "trine-control",
        await command(plane, { dir, api, health }),
        join(dir, "trine-control.log"),
      );
      undo.defer("trine-control", () => control.end());
      const rig = new ControlRig({ client, plane, control, health, undo });
      await rig.startControl();
      const hollow = await HollowNodes.start({ plane, client, count: nodes });
      undo.defer("nodes", () => hollow.stop());
      rig.#nodes = hollow;
      return rig;
    } catch (cause) {
      await undo.run();
      throw cause;
    }
  }

  get pid(): number {
    return this.#control.pid ?? 0;
  }

  /** Starts trine-control; resolves when it leads and serves. */
  async startControl(): Promise<void> {
    await this.#control.start();
    await this.#control.untilReady(() => this.#answers("/readyz", /^ok/));
    await this.#control.untilReady(() => this.#isLed());
  }

  /** Ends it as its pod's end does: it gives the lease back. */
  stopControl(): Promise<void> {
    return this.#control.end();
  }

  /** How many nodes' doors it watches. */
  get watched(): number {
    return this.#nodes?.watched ?? 0;
  }

  /** Makes machines, some at a time, and waits until each is said to run. */
  async makeMachines(count: number, atOnce = 8): Promise<void> {
    const names = Array.from({ length: count }, (_, index) => `m-${index}`)[Symbol.iterator]();
    const worker = async (): Promise<void> => {
      for (const name of names) await this.client.create(MACHINES, machine(name));
    };
    await Promise.all(Array.from({ length: atOnce }, worker));
    await this.untilRunning(count);
  }

  async untilRunning(count: number): Promise<void> {
    await pollUntil(
      `${count} machines run`,
      { ms: LONG_MS + count * 2_000, everyMs: 1_000 },
      async () => {
        const { items } = await this.client.list(MACHINES, { namespace: "default" });
        const running = items.filter(({ status }) => status?.printableStatus === "Running");
        return running.length === count || undefined;
      },
    );
  }

  /** Requests that wrote machines, instances and pods, this process's own left out. */
  async writes(): Promise<number> {
    const text = await this.plane.kubectl.run("get", "--raw", "/metrics");
    let sum = 0;
    for (const [, labels = "", value = "0"] of text.matchAll(
      /^apiserver_request_total\{([^}]*)\} (\S+)$/gm,
    )) {
      const of = (name: string): string =>
        new RegExp(`(?:^|,)${name}="([^"]*)"`).exec(labels)?.[1] ?? "";
      const isWrite = ["PUT", "PATCH", "APPLY"].includes(of("verb"));
      const isOurs = ["virtualmachines", "virtualmachineinstances", "pods"].includes(
        of("resource"),
      );
      if (isWrite && isOurs) sum += Number(value);
    }
    return sum - (this.#nodes?.patches ?? 0);
  }

  log(): Promise<string> {
    return this.#control.logTail(200);
  }

  async stop(): Promise<void> {
    const left = await this.#undo.run();
    if (left.length > 0)
      throw new AggregateError(
        left.map(({ cause }) => cause),
        "not cleared",
      );
  }

  /** Whoever ended before has given the lease back. */
  async #isLed(): Promise<boolean> {
    const at = { namespace: "trine-system", name: "trine-control" };
    const lease = await this.client.get(LEASES, at).catch((cause: unknown) => {
      if (kindOf(cause) !== "notFound") throw cause;
      return undefined;
    });
    return (lease?.spec?.holderIdentity ?? "") !== "";
  }

  async #answers(path: string, wanted: RegExp): Promise<boolean> {
    try {
      const answer = await fetch(`http://127.0.0.1:${this.#health}${path}`);
      return answer.ok && wanted.test(await answer.text());
    } catch {
      return false; // it does not listen yet
    }
  }
}
