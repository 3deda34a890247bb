import { Counter, Gauge } from "prom-client";
import type { Registry } from "prom-client";
import type { Engine } from "@trine/engine";

/** How many spares wait for pods, what they hold meanwhile, and what became of the pods that could have had one. */
export function registerSpares(
  { spares }: { readonly spares: Pick<Engine["spares"], "list" | "claims"> },
  registry: Registry,
): void {
  const size = ["cpus", "memory_bytes"] as const;
  const count = new Gauge({
    name: "trine_spares",
    help: "Guests that have booted before their pods, by size and state (ready, wanted).",
    labelNames: [...size, "state"],
    registers: [registry],
    async collect() {
      count.reset();
      for (const { cpus, memoryBytes, ready, wanted } of await spares.list()) {
        const labels = { cpus, memory_bytes: memoryBytes };
        count.set({ ...labels, state: "ready" }, ready);
        count.set({ ...labels, state: "wanted" }, wanted);
      }
    },
  });
  const held = new Gauge({
    name: "trine_spare_held_bytes",
    help: "Proportional memory of the host that spares hold: VMM, shim and file server.",
    labelNames: size,
    registers: [registry],
    async collect() {
      held.reset();
      for (const { cpus, memoryBytes, heldBytes } of await spares.list()) {
        held.set({ cpus, memory_bytes: memoryBytes }, heldBytes);
      }
    },
  });
  const claims = new Counter({
    name: "trine_spare_claims_total",
    help: "Sandboxes of microvm pods: used a spare, missed (none was ready or fitted), refused (claimed and of no use).",
    labelNames: ["result"],
    registers: [registry],
    collect() {
      claims.reset();
      const { used, missed, refused } = spares.claims;
      for (const [result, times] of Object.entries({ used, missed, refused })) {
        claims.inc({ result }, times);
      }
    },
  });
}
