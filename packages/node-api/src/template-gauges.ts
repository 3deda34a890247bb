import { Gauge } from "prom-client";
import type { Registry } from "prom-client";
import type { Engine } from "@trine/engine";

/** How many templates there are, and what they hold while no pod uses them. */
export function registerTemplates(
  { templates }: { readonly templates: Pick<Engine["templates"], "list" | "making"> },
  registry: Registry,
): void {
  const count = new Gauge({
    name: "trine_templates",
    help: "Templates of microvm guests on this node, by state (ready, making).",
    labelNames: ["state"],
    registers: [registry],
    async collect() {
      count.set({ state: "ready" }, (await templates.list()).length);
      count.set({ state: "making" }, templates.making);
    },
  });
  const held = new Gauge({
    name: "trine_template_held_bytes",
    help: "Memory of the host that templates hold, their shims included.",
    registers: [registry],
    async collect() {
      const sizes = (await templates.list()).map(
        (each) => each.heldBytes + each.shim.residentBytes,
      );
      held.set(sizes.reduce((sum, size) => sum + size, 0));
    },
  });
}
