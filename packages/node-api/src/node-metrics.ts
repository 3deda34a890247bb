import { monitorEventLoopDelay } from "node:perf_hooks";
import { Gauge, Histogram, Registry, collectDefaultMetrics } from "prom-client";
import type { Engine } from "@trine/engine";
import { MachineGauges } from "./machine-gauges.ts";

const NS_PER_MS = 1e6;
/** The delay that readiness looks at is that of the last interval, not of the daemon's whole life. */
const WINDOW_MS = 10_000;

/** Prometheus metrics of the node daemon. */
export class NodeMetrics {
  readonly #registry = new Registry();
  readonly #delay = monitorEventLoopDelay({ resolution: 10 });
  readonly #taskSeconds: Histogram<"method" | "outcome">;
  readonly #launchSeconds: Histogram;
  readonly #machines: MachineGauges;

  constructor(engine: Engine) {
    collectDefaultMetrics({ register: this.#registry, prefix: "trined_" });
    this.#delay.enable();
    setInterval(() => {
      this.#delay.reset();
    }, WINDOW_MS).unref();
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
    this.#machines = new MachineGauges(engine, this.#registry);
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

  observeLaunch(ms: number): void {
    this.#launchSeconds.observe(ms / 1000);
  }

  observeTaskCall(method: string, outcome: string, seconds: number): void {
    this.#taskSeconds.observe({ method, outcome }, seconds);
  }

  /** The worst delay of the event loop in the present window. */
  loopDelayMs(): number {
    return this.#delay.max / NS_PER_MS;
  }

  async render(): Promise<string> {
    await this.#machines.update();
    return this.#registry.metrics();
  }
}
