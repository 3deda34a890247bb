import type { StreamOf } from "@trine/virt-api";
import { Gauge, type Registry } from "prom-client";

/** KubeVirt's names by subresource. */
const NAMES: Readonly<Record<string, string>> = {
  console: "kubevirt_console_active_connections",
  vnc: "kubevirt_vnc_active_connections",
  portforward: "kubevirt_portforward_active_tunnels",
};

/** Streams of this process that are open: another has its own. */
export class Streams {
  readonly #gauges: ReadonlyMap<string, Gauge<"namespace" | "vmi">>;
  readonly #open = new Map<string, number>();

  constructor(registry: Registry) {
    const entries = Object.entries(NAMES).map(([subresource, name]) => {
      const help = `Streams of ${subresource} that are open, by machine.`;
      const labelNames = ["namespace", "vmi"] as const;
      return [subresource, new Gauge({ name, help, labelNames, registers: [registry] })] as const;
    });
    this.#gauges = new Map(entries);
  }

  opened({ subresource, namespace, name: vmi }: StreamOf): () => void {
    const key = JSON.stringify([subresource, namespace, vmi]);
    const add = (count: number): void => {
      const now = (this.#open.get(key) ?? 0) + count;
      this.#open.set(key, now);
      const gauge = this.#gauges.get(subresource);
      if (now > 0) gauge?.set({ namespace, vmi }, now);
      else {
        // Machines come and go: what is closed is forgotten.
        this.#open.delete(key);
        gauge?.remove({ namespace, vmi });
      }
    };
    add(1);
    return () => {
      add(-1);
    };
  }
}
