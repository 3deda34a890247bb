import { Counter, Gauge } from "prom-client";
import type { Registry } from "prom-client";
import type { MachineFigures } from "@trine/engine";
import { FAMILIES } from "./virt-families.ts";
import type { Family } from "./virt-families.ts";

/** Whose figures they are. */
export interface FiguresOf {
  readonly pod: { readonly podNamespace: string; readonly name: string };
  readonly figures: MachineFigures;
}

type Labels = Readonly<Record<string, string>>;

interface Told {
  readonly family: Family;
  readonly reset: () => void;
  readonly tell: (labels: Labels, value: number) => void;
}

/** Figures of the node's machines that belong to a VirtualMachineInstance, read anew at each scrape. */
export class VirtGauges {
  readonly #node: string;
  readonly #all: readonly Told[];

  constructor(node: string, registry: Registry) {
    this.#node = node;
    this.#all = FAMILIES.map((family) => toldOf(family, registry));
  }

  update(machines: readonly FiguresOf[]): void {
    for (const { reset } of this.#all) reset();
    for (const { pod, figures } of machines) {
      const name = instanceOf(pod.name);
      if (name === undefined) continue;
      const whose = { node: this.#node, namespace: pod.podNamespace, name };
      for (const { family, tell } of this.#all) {
        for (const [labels, value] of family.samples(figures)) {
          if (value !== undefined) tell({ ...whose, ...labels }, value);
        }
      }
    }
  }
}

function toldOf(family: Family, registry: Registry): Told {
  const { name, help, type, labels } = family;
  const labelNames = ["node", "namespace", "name", ...labels];
  const options = { name, help, labelNames, registers: [registry] };
  if (type === "gauge") {
    const gauge = new Gauge(options);
    return {
      family,
      reset: () => {
        gauge.reset();
      },
      tell: (at, value) => {
        gauge.set(at, value);
      },
    };
  }
  const counter = new Counter(options);
  return {
    family,
    reset: () => {
      counter.reset();
    },
    tell: (at, value) => {
      counter.inc(at, value);
    },
  };
}

/** The control plane calls an instance's pod `virt-launcher-NAME-` and a word that NAME's uid gives. */
function instanceOf(pod: string): string | undefined {
  return /^virt-launcher-(.+)-[a-z0-9]+$/.exec(pod)?.[1];
}
