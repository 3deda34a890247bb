import { Counter, Gauge } from "prom-client";
import type { Registry } from "prom-client";

/** How containers' views of their limits stand. */
export interface ViewFigures {
  readonly up: boolean;
  /** Absent where NRI is not wanted. */
  readonly nri?: boolean | undefined;
  readonly containers: number;
  readonly stale: number;
  readonly starts: number;
  readonly healed: number;
  readonly failed: number;
  readonly missed: number;
}

/** Metrics of lxcfs, on nodes that have it. */
export function registerViews(figures: () => ViewFigures, registry: Registry): void {
  const gauge = (name: string, help: string, read: (now: ViewFigures) => number): void => {
    const made: Gauge = new Gauge({
      ...{ name, help, registers: [registry] },
      collect: () => {
        made.set(read(figures()));
      },
    });
  };
  const counter = (name: string, help: string, read: (now: ViewFigures) => number): void => {
    const made: Counter = new Counter({
      ...{ name, help, registers: [registry] },
      collect: () => {
        made.reset();
        made.inc(read(figures()));
      },
    });
  };
  gauge("trine_lxcfs_up", "1 while lxcfs serves.", ({ up }) => Number(up));
  gauge("trine_nri_connected", "1 while NRI tells of containers.", ({ nri = false }) =>
    Number(nri),
  );
  gauge("trine_lxcfs_containers", "Containers with views.", ({ containers }) => containers);
  gauge("trine_lxcfs_stale", "Of them, those whose lxcfs is gone.", ({ stale }) => stale);
  counter("trine_lxcfs_starts_total", "Times that lxcfs came or came back.", (now) => now.starts);
  counter(
    "trine_lxcfs_healed_total",
    "Containers that were given the files of another lxcfs while they ran.",
    ({ healed }) => healed,
  );
  counter("trine_lxcfs_failed_total", "Attempts at that which failed.", ({ failed }) => failed);
  counter(
    "trine_lxcfs_missed_total",
    "Containers that started without views, as lxcfs was away.",
    ({ missed }) => missed,
  );
}
