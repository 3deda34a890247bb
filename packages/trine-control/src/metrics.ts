import type { AnsweredRequest } from "@trine/virt-api";
import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from "prom-client";
import { type Machines, registerMachines } from "./machine-metrics.ts";
import { PhaseTimes } from "./phase-times.ts";
import { Streams } from "./stream-gauges.ts";

/** What the program counts of itself. */
export class ControlMetrics {
  readonly #registry = new Registry();
  readonly #failures: Counter<"controller">;
  readonly #watches: Counter<"resource">;
  readonly #certificates: Counter<"decision">;
  readonly #requests: Histogram<"verb" | "resource" | "code">;
  readonly #phases: PhaseTimes;
  readonly #streams: Streams;
  #machines: Machines | undefined;

  constructor(isLeading: () => boolean, version: string) {
    const registers = [this.#registry];
    const info = new Gauge({
      name: "kubevirt_info",
      help: "1 of the version that runs.",
      labelNames: ["kubeversion"],
      registers,
    });
    info.set({ kubeversion: `v${version}` }, 1);
    // Each machine is told once in a cluster.
    registerMachines(this.#registry, () => (isLeading() ? this.#machines : undefined));
    this.#phases = new PhaseTimes(this.#registry);
    this.#streams = new Streams(this.#registry);
    collectDefaultMetrics({ register: this.#registry, prefix: "trine_control_" });
    const leading = new Gauge({
      name: "trine_control_leading",
      help: "1 while this process is the one whose controllers work.",
      registers,
      collect: () => {
        leading.set(isLeading() ? 1 : 0);
      },
    });
    this.#failures = new Counter({
      name: "trine_control_reconcile_failures_total",
      help: "Steps of controllers that failed and are tried again.",
      labelNames: ["controller"],
      registers,
    });
    this.#watches = new Counter({
      name: "trine_control_watch_failures_total",
      help: "Lists and watches of the API server that failed and were begun again.",
      labelNames: ["resource"],
      registers,
    });
    this.#requests = new Histogram({
      name: "trine_control_api_request_seconds",
      help: "Requests to the API that this process has answered: subresources, webhooks, tokens of uploads. Streams are not among them.",
      labelNames: ["verb", "resource", "code"],
      buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
      registers,
    });
    this.#certificates = new Counter({
      name: "trine_control_node_certificates_total",
      help: "Requests of nodes for certificates, by what was decided.",
      labelNames: ["decision"],
      registers,
    });
  }

  /** From now on, while this process leads. */
  tellMachines(machines: Machines): void {
    this.#machines = machines;
  }

  /** Of the instances' changes from now on. */
  followPhases(instances: Parameters<PhaseTimes["follow"]>[0]): void {
    this.#phases.follow(instances);
  }

  /** A stream to a machine is open; answers what to call when it has ended. */
  readonly streamOpened: Streams["opened"] = (of) => this.#streams.opened(of);

  /** A request to the API was answered. */
  readonly answered = ({ verb, resource, code, seconds }: AnsweredRequest): void => {
    this.#requests.observe({ verb, resource, code: String(code) }, seconds);
  };

  stepFailed(controller: string): void {
    this.#failures.inc({ controller });
  }

  watchFailed(resource: string): void {
    this.#watches.inc({ resource });
  }

  decided(why: string | undefined): void {
    this.#certificates.inc({ decision: why === undefined ? "approved" : "denied" });
  }

  render(): Promise<string> {
    return this.#registry.metrics();
  }
}
