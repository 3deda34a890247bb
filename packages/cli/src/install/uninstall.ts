import { TrineError } from "@trine/base";
import type { Io } from "../io.ts";
import { undoAll } from "./apply.ts";
import { withdrawEmptyImage } from "./empty-image.ts";
import { changeRuntimeClasses } from "./kubectl.ts";
import { nodeFiles } from "./node-flags.ts";
import type { NodeFlags } from "./node-flags.ts";
import type { NodeFiles } from "./node-files.ts";
import { findNodeKind } from "./node-kind.ts";
import { RUNTIME_CLASSES } from "./plan-install.ts";
import { readRecord } from "./record.ts";
import type { InstallRecord } from "./record.ts";
import { findServiceManager, unitsOf } from "./services.ts";
import { tellNotes } from "./tell-plan.ts";

export interface UninstallFlags extends NodeFlags {
  readonly force: boolean;
}

const PODS = "/run/trine/pods";

/** `trine uninstall`: every file as it was before `install`. */
export async function uninstall(io: Io, flags: UninstallFlags): Promise<void> {
  const files = nodeFiles(io, flags);
  const record = await readRecord(files);
  if (record === undefined) {
    io.stdout.write("nothing to undo\n");
    if (!flags.dryRun) await undoAll(files, undefined, () => Promise.resolve());
    return;
  }
  const pods = await files.list(PODS);
  if (pods.length > 0 && !flags.force) {
    const what = `${pods.length} pods of Trine run on this node: remove them first, or say --force`;
    throw new TrineError("wrongState", what);
  }
  for (const { path } of record.paths.toReversed()) io.stdout.write(`undo    ${path}\n`);
  const classes = await classesOf(files);
  await changeRuntimeClasses(io, flags, { verb: "delete", classes });
  if (flags.dryRun) return;
  await withdrawEmptyImage(io, files, await findNodeKind(files));
  tellNotes(io, await undoAll(files, record, () => stopServices(io, files, { record, flags })));
}

/** As they were applied; after an interrupted run they are gone already. */
async function classesOf(files: NodeFiles): Promise<string> {
  return (await files.read(RUNTIME_CLASSES)) ?? "";
}

/** The units are gone from the next start on; what has read our lines reads its files again. */
async function stopServices(
  io: Io,
  files: NodeFiles,
  of: { readonly record: InstallRecord; readonly flags: UninstallFlags },
): Promise<void> {
  const units = await unitsOf(files, await findNodeKind(files));
  const { gateway } = of.record.wishes;
  const hasLxcfs = of.record.paths.some(({ path }) =>
    path.endsWith(`.wants/${units["trine-lxcfs"]}`),
  );
  const stop = [units.trined, ...(hasLxcfs ? [units["trine-lxcfs"]] : [])];
  const restart = [units.containerd, ...(gateway ? [units.kubelet] : [])];
  const manager = await findServiceManager(files);
  if (manager === undefined || !of.flags.restart) {
    const then = `systemctl stop ${stop.join(" ")}; systemctl restart ${restart.join(" ")}`;
    tellNotes(io, [`not done (--restart does): systemctl daemon-reload; ${then}`]);
    return;
  }
  await manager.reload();
  for (const unit of restart.toReversed()) {
    io.stderr.write(`trine: restarting ${unit}\n`);
    await manager.restart(unit);
  }
  for (const unit of stop) await manager.stop(unit);
}
