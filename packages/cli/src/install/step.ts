import { readFile } from "node:fs/promises";
import { createHash } from "node:crypto";
import { keepBackup, undoFile } from "./backups.ts";
import type { NodeFiles } from "./node-files.ts";

/** What has to be restarted before a change has effect, in the order in which that is done. */
export const SERVICES = ["trine-lxcfs", "trined", "containerd", "kubelet"] as const;
export type Service = (typeof SERVICES)[number];

interface Common {
  /** What it is for, in a few words. */
  readonly what: string;
  readonly path: string;
  readonly restarts: readonly Service[];
}

/** A text as it is to be. */
export interface TextStep extends Common {
  readonly kind: "text";
  /** Says what is wanted of what is there; may be repeated. undefined: nothing is there, or nothing is wanted. */
  readonly edit: (text: string | undefined) => string | undefined;
}

interface LinkStep extends Common {
  readonly kind: "link";
  readonly target: string;
}

/** A file of this machine that the node is to have. */
interface CopyStep extends Common {
  readonly kind: "copy";
  readonly from: string;
  readonly mode: number;
}

/** One thing that is to be on a node. Steps know nothing of each other: each is done or not. */
export type Step = TextStep | LinkStep | CopyStep;
export type StepKind = Step["kind"];

/** What a step would change. */
export interface Change {
  readonly step: Step;
  readonly verb: "create" | "change" | "remove";
  /** Lines of the text that come and go. */
  readonly added: number;
  readonly removed: number;
}

/** undefined: all is as the step wants it. */
export async function lookAtStep(files: NodeFiles, step: Step): Promise<Change | undefined> {
  switch (step.kind) {
    case "text": {
      const before = await files.read(step.path);
      const after = step.edit(before);
      return before === after ? undefined : textChange(step, before, after);
    }
    case "link": {
      const before = await files.link(step.path);
      if (before === step.target) return undefined;
      return { step, verb: before === undefined ? "create" : "change", added: 0, removed: 0 };
    }
    case "copy": {
      const before = await digestOfFile(await files.place(step.path));
      if (before !== undefined && before === (await digestOfFile(step.from))) return undefined;
      return { step, verb: before === undefined ? "create" : "change", added: 0, removed: 0 };
    }
  }
}

function textChange(step: Step, before: string | undefined, after: string | undefined): Change {
  const [old, fresh] = [linesOf(before), linesOf(after)];
  const verb = before === undefined ? "create" : after === undefined ? "remove" : "change";
  return { step, verb, added: countMissing(fresh, old), removed: countMissing(old, fresh) };
}

function linesOf(text = ""): string[] {
  return text.split("\n").filter((line) => line !== "");
}

/** How many lines of `some` the others do not have. */
function countMissing(some: readonly string[], others: readonly string[]): number {
  const left = new Map<string, number>();
  for (const line of others) left.set(line, (left.get(line) ?? 0) + 1);
  return some.filter((line) => {
    const count = left.get(line) ?? 0;
    left.set(line, count - 1);
    return count <= 0;
  }).length;
}

export async function doStep(files: NodeFiles, step: Step): Promise<void> {
  switch (step.kind) {
    case "text": {
      const before = await files.read(step.path);
      const after = step.edit(before);
      if (before !== undefined) await keepBackup(files, step.path, before);
      if (after === undefined) await undoFile(files, step.path);
      else if (after !== before) await files.write(step.path, after);
      return;
    }
    case "link":
      return files.writeLink(step.path, step.target);
    case "copy":
      return files.write(step.path, await readFile(step.from), { mode: step.mode });
  }
}

/** What is undone needs no step: what was done says it by itself. Answers what a person should know. */
export async function undoStep(
  files: NodeFiles,
  { kind, path }: { readonly kind: StepKind; readonly path: string },
): Promise<string | undefined> {
  if (kind === "text") return undoFile(files, path);
  await files.removeRests(path);
  await files.remove(path);
  return undefined;
}

async function digestOfFile(place: string): Promise<string | undefined> {
  try {
    const bytes = await readFile(place);
    return createHash("sha256").update(bytes).digest("hex");
  } catch {
    return undefined; // it is written anew, and that says what is wrong
  }
}
