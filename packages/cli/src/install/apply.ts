import type { NodeFiles } from "./node-files.ts";
import { readRecord, removeRecord, writeRecord } from "./record.ts";
import type { InstallRecord, RecordedWishes } from "./record.ts";
import { SERVICES, doStep, lookAtStep, undoStep } from "./step.ts";
import type { Change, Service, Step } from "./step.ts";

/** Steps that are not yet as they should be, and what was done once and is not wanted any more. */
export interface Plan {
  readonly changes: readonly Change[];
  readonly gone: InstallRecord["paths"];
}

export async function makePlan(files: NodeFiles, steps: readonly Step[]): Promise<Plan> {
  const changes: Change[] = [];
  for (const step of steps) {
    const change = await lookAtStep(files, step);
    if (change !== undefined) changes.push(change);
  }
  const wanted = new Set(steps.map(({ path }) => path));
  const done = (await readRecord(files))?.paths ?? [];
  return { changes, gone: done.filter(({ path }) => !wanted.has(path)) };
}

/**
 * Makes the node as the steps say. It may be interrupted between any two changes: the next run looks again and goes
 * on. Answers what a person should know.
 */
export async function applyPlan(
  files: NodeFiles,
  plan: Plan,
  of: { readonly steps: readonly Step[]; readonly wishes: RecordedWishes; readonly now: number },
): Promise<string[]> {
  const old = await readRecord(files);
  const touched = plan.changes.flatMap(({ step }) => [...step.restarts]);
  // Whoever reads what goes is not known any more.
  const restarts = plan.gone.length > 0 ? ["trined" as const, "containerd" as const] : [];
  const pending = pendingOf([...touched, ...restarts], of.now);
  const paths = of.steps.map(({ kind, path }) => ({ kind, path }));
  const made = await files.missingAbove(paths.map(({ path }) => path));
  const record: InstallRecord = {
    paths: [...plan.gone, ...paths],
    directories: [...new Set([...(old?.directories ?? []), ...made])].sort(),
    pending: { ...old?.pending, ...pending },
    wishes: of.wishes,
  };
  if (old !== undefined || paths.length > 0) await writeRecord(files, record);
  const notes: string[] = [];
  for (const each of [...plan.gone].reverse()) {
    const note = await undoStep(files, each);
    if (note !== undefined) notes.push(note);
  }
  for (const { step } of plan.changes) await doStep(files, step);
  if (plan.gone.length > 0) await writeRecord(files, { ...record, paths });
  return notes;
}

function pendingOf(services: readonly Service[], now: number): InstallRecord["pending"] {
  const named = SERVICES.filter((service) => services.includes(service));
  return Object.fromEntries(named.map((service) => [service, now]));
}

/** Takes everything away again; `restart` is done while it can still be repeated. */
export async function undoAll(
  files: NodeFiles,
  record: InstallRecord | undefined,
  restart: () => Promise<void>,
): Promise<string[]> {
  const notes: string[] = [];
  for (const each of [...(record?.paths ?? [])].reverse()) {
    const note = await undoStep(files, each);
    if (note !== undefined) notes.push(note);
  }
  if (record !== undefined) await restart();
  for (const path of [...(record?.directories ?? [])].reverse()) {
    if (!(await files.removeDirectory(path))) notes.push(`${path} stays: there is more in it`);
  }
  await removeRecord(files);
  return notes;
}
