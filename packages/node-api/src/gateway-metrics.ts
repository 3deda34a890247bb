import { Counter, Gauge, Histogram } from "prom-client";
import type { Registry } from "prom-client";

/** One call of the CRI gateway that is over. */
export interface GatewayCall {
  readonly method: string;
  /** Empty where several were asked, or none. */
  readonly backEnd: string;
  /** gRPC's */
  readonly code: number;
  readonly seconds: number;
  /** Back ends that were left out of a list. */
  readonly absent: readonly string[];
}

/** A back end, and why it is not connected; undefined = it is. */
export interface BackEndState {
  readonly name: string;
  readonly down: string | undefined;
}

/** Metrics of the CRI gateway, on nodes that have one; answers what to tell of each call. */
export function registerGateway(
  backEnds: () => readonly BackEndState[],
  registry: Registry,
): (call: GatewayCall) => void {
  const seconds = new Histogram({
    name: "trine_gateway_call_seconds",
    help: "Calls of the CRI gateway by method, back end (empty: several) and gRPC code, until their last byte.",
    labelNames: ["method", "back_end", "code"],
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 10, 60],
    registers: [registry],
  });
  const up = new Gauge({
    name: "trine_gateway_back_end_up",
    help: "1 while the gateway is connected to the back end.",
    labelNames: ["back_end"],
    registers: [registry],
    collect() {
      for (const { name, down } of backEnds())
        up.set({ back_end: name }, down === undefined ? 1 : 0);
    },
  });
  const absences = new Counter({
    name: "trine_gateway_absent_total",
    help: "Lists that a back end did not answer and was left out of, or shown in as it last was.",
    labelNames: ["method", "back_end"],
    registers: [registry],
  });
  return ({ method, backEnd, code, seconds: took, absent }) => {
    seconds.observe({ method, back_end: backEnd, code: String(code) }, took);
    for (const name of absent) absences.inc({ method, back_end: name });
  };
}
