import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";

/** One measured number beside the one we promised. `target` is an upper bound, or a lower one. */
export interface Figure {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
  readonly target?: { readonly atMost?: number; readonly atLeast?: number };
}

export interface BenchResult {
  readonly figures: readonly Figure[];
  /** Raw samples by series name, kept as JSON beside the figures. */
  readonly samples: Readonly<Record<string, readonly number[]>>;
  readonly notes?: readonly string[];
}

export function holds(figure: Figure): boolean {
  const { atMost, atLeast } = figure.target ?? {};
  return (
    (atMost === undefined || figure.value <= atMost) &&
    (atLeast === undefined || figure.value >= atLeast)
  );
}

/** `figure NAME = VALUE UNIT (target TARGET): holds`, the line every figure ends with; without a target: measured. */
export function figureLine(figure: Figure): string {
  const { atMost, atLeast } = figure.target ?? {};
  const target =
    atMost !== undefined ? `<= ${atMost}` : atLeast !== undefined ? `>= ${atLeast}` : "none";
  const verdict =
    figure.target === undefined ? "measured" : holds(figure) ? "holds" : "falls short";
  return `figure ${figure.name} = ${round(figure.value)} ${figure.unit} (target ${target}): ${verdict}`;
}

/** p in 0..1 by the nearest rank. */
export function percentile(samples: readonly number[], p: number): number {
  const sorted = [...samples].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.ceil(p * sorted.length) - 1)] ?? Number.NaN;
}

export function median(samples: readonly number[]): number {
  return percentile(samples, 0.5);
}

export async function saveSamples(dir: string, name: string, result: BenchResult): Promise<void> {
  await mkdir(dir, { recursive: true });
  await writeFile(join(dir, `${name}.json`), `${JSON.stringify(result, null, 1)}\n`);
}

function round(value: number): string {
  return Number(value.toPrecision(4)).toString();
}
