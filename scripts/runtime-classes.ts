import { HANDLERS } from "../packages/annotations/src/index.ts";

/** deploy/overhead.json: what a pod of a handler costs beyond its containers' own requests, as measured. */
export type Overheads = Partial<Record<(typeof HANDLERS)[number], Overhead>>;

export interface Overhead {
  readonly memoryBytes: number;
  readonly cpuMillis?: number;
  /** Name of the bench figure behind the numbers. */
  readonly figure: string;
}

const MIB = 1024 * 1024;

/** deploy/kubernetes/runtimeclasses.yaml; a handler that was not measured has no overhead. */
export function runtimeClasses(overheads: Overheads): string {
  const head = "# Written by scripts/docs.ts from deploy/overhead.json; do not edit.\n";
  return head + HANDLERS.map((handler) => runtimeClass(handler, overheads[handler])).join("---\n");
}

function runtimeClass(handler: string, overhead: Overhead | undefined): string {
  const lines = [
    "apiVersion: node.k8s.io/v1",
    "kind: RuntimeClass",
    "metadata:",
    `  name: ${handler}`,
    `handler: ${handler}`,
  ];
  return `${[...lines, ...overheadLines(overhead)].join("\n")}\n`;
}

function overheadLines(overhead: Overhead | undefined): string[] {
  if (overhead === undefined) return ["# No overhead: not measured."];
  const { memoryBytes, cpuMillis, figure } = overhead;
  if (!(memoryBytes > 0)) throw new Error(`deploy/overhead.json: ${figure}: no memory`);
  return [
    `# Measured: ${figure}.`,
    "overhead:",
    "  podFixed:",
    `    memory: ${Math.ceil(memoryBytes / MIB)}Mi`,
    ...(cpuMillis === undefined ? [] : [`    cpu: ${cpuMillis}m`]),
  ];
}
