import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from "prom-client";
import type { Engine } from "@trine/engine";
import { registerGateway } from "./gateway-metrics.ts";
import type { BackEndState, GatewayCall } from "./gateway-metrics.ts";
import { registerViews } from "./lxcfs-metrics.ts";
import type { ViewFigures } from "./lxcfs-metrics.ts";
import { LoopDelay } from "./loop-delay.ts";
import { MachineGauges } from "./machine-gauges.ts";
import { registerSpares } from "./spare-gauges.ts";
import { registerTemplates } from "./template-gauges.ts";
import { VirtGauges } from "./virt-gauges.ts";

/** Readiness looks at the delays of this window and the one before, not of the daemon's whole life. */
const WINDOW_MS = 10_000;

/** Prometheus metrics of the node daemon. */
export class NodeMetrics {
  readonly #registry = new Registry();
  readonly #delay: LoopDelay;
  readonly #taskSeconds: Histogram<"method" | "outcome">;
  readonly #launchSeconds: Histogram;
  readonly #guests: Counter<"how" | "why">;
  readonly #machines: MachineGauges;
  readonly #virt: VirtGauges;

  /** `node`: its name in the cluster. */
  constructor(engine: Engine, node: string, windowMs = WINDOW_MS) {
    collectDefaultMetrics({ register: this.#registry, prefix: "trined_" });
    this.#delay = new LoopDelay(windowMs);
    const worst = new Gauge({
      name: "trine_event_loop_worst_delay_seconds",
      help: "Worst delay of the event loop in the last 10 to 20 s; above 1 the daemon is not ready.",
      registers: [this.#registry],
      collect: () => {
        worst.set(this.loopDelayMs() / 1000);
      },
    });
    this.#taskSeconds = new Histogram({
      name: "trine_task_call_seconds",
      help: "Task calls relayed by the pods' shims, by method and outcome (ok, or the error's kind).",
      labelNames: ["method", "outcome"],
      buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
      registers: [this.#registry],
    });
    this.#launchSeconds = new Histogram({
      name: "trine_machine_launch_seconds",
      help: "From a machine's Create to the execution of its VMM.",
      buckets: [0.01, 0.02, 0.04, 0.06, 0.1, 0.2, 0.5, 1, 5],
      registers: [this.#registry],
    });
    this.#guests = new Counter({
      name: "trine_guest_starts_total",
      help: "Guests of microvm pods that came up: how (clone, cold), and why cold.",
      labelNames: ["how", "why"],
      registers: [this.#registry],
    });
    registerTemplates(engine, this.#registry);
    registerSpares(engine, this.#registry);
    this.#machines = new MachineGauges(engine, this.#registry);
    this.#virt = new VirtGauges(node, this.#registry);
    const machines = new Gauge({
      name: "trine_machines",
      help: "Machines on this node, by state.",
      labelNames: ["state"],
      registers: [this.#registry],
      async collect() {
        this.reset();
        for (const pod of await engine.list()) {
          if (pod.machine !== undefined) machines.inc({ state: pod.machine.state });
        }
      },
    });
  }

  /** A microvm pod's guest came up: as a clone, or cold and why. */
  countGuest({ how, why }: { readonly how: string; readonly why?: string }): void {
    this.#guests.inc({ how, why: why ?? "" });
  }

  observeLaunch(ms: number): void {
    this.#launchSeconds.observe(ms / 1000);
  }

  observeTaskCall(method: string, outcome: string, seconds: number): void {
    this.#taskSeconds.observe({ method, outcome }, seconds);
  }

  /** On nodes with a CRI gateway; answers what to tell of each of its calls. */
  watchGateway(backEnds: () => readonly BackEndState[]): (call: GatewayCall) => void {
    return registerGateway(backEnds, this.#registry);
  }

  /** On nodes whose containers see their own limits by lxcfs. */
  watchViews(figures: () => ViewFigures): void {
    registerViews(figures, this.#registry);
  }

  /** The worst delay of the event loop in the present window and the one before. */
  loopDelayMs(): number {
    return this.#delay.worstMs;
  }

  close(): void {
    this.#delay.close();
  }

  async render(): Promise<string> {
    this.#virt.update(await this.#machines.update());
    return this.#registry.metrics();
  }
}
