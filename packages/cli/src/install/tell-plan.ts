import type { Io } from "../io.ts";
import { printable } from "../output/table.ts";
import type { Plan } from "./apply.ts";
import type { Change } from "./step.ts";

/** One line a file; what is copied of the release is one line in all. */
export function tellPlan({ stdout }: Pick<Io, "stdout">, plan: Plan, root: string): void {
  const { changes, gone } = plan;
  const programs = changes.filter(({ step }) => step.what === "program");
  if (programs.length > 0) stdout.write(`copy    ${programs.length} files of Trine's to ${root}\n`);
  for (const change of changes) {
    if (!programs.includes(change)) stdout.write(`${lineOf(change)}\n`);
  }
  for (const { path } of gone) stdout.write(`remove  ${printable(path)}: not wanted any more\n`);
  if (changes.length + gone.length === 0) stdout.write("nothing to change\n");
}

function lineOf({ step, verb, added, removed }: Change): string {
  const target = step.kind === "link" ? ` -> ${step.target}` : "";
  const lines = step.kind === "text" ? ` (+${added} -${removed} lines)` : "";
  return `${verb.padEnd(6)}  ${printable(step.path + target)}: ${step.what}${lines}`;
}

/** What a person should know, on stderr. */
export function tellNotes({ stderr }: Pick<Io, "stderr">, notes: readonly string[]): void {
  for (const note of notes) stderr.write(`trine: ${printable(note)}\n`);
}
