import type { Io } from "../io.ts";
import type { Plan } from "./apply.ts";
import type { NodeFlags } from "./node-flags.ts";
import type { NodeFiles } from "./node-files.ts";
import type { NodeKind } from "./node-kind.ts";
import { readRecord, writeRecord } from "./record.ts";
import type { InstallRecord } from "./record.ts";
import { findServiceManager, unitsOf } from "./services.ts";
import type { ServiceManager } from "./services.ts";
import { SERVICES } from "./step.ts";
import type { Service } from "./step.ts";
import { tellNotes } from "./tell-plan.ts";

/**
 * Restarts what has changed and has not been restarted since, with --restart; else says what has to be. A service that
 * nothing has changed for is never touched.
 */
export async function restartPending(
  io: Io,
  files: NodeFiles,
  of: { readonly kind: NodeKind; readonly flags: NodeFlags; readonly plan: Plan },
): Promise<void> {
  const manager = await findServiceManager(files);
  const units = await unitsOf(files, of.kind);
  const waiting = await waitingServices(files, manager, units);
  const planned = of.flags.dryRun ? of.plan.changes.flatMap(({ step }) => step.restarts) : [];
  const services = SERVICES.filter((each) => waiting.includes(each) || planned.includes(each));
  if (services.length === 0) return;
  const names = services.map((service) => units[service].replace(/\.service$/, ""));
  const commands = `systemctl daemon-reload; systemctl restart ${names.join(" ")}`;
  if (of.flags.dryRun || !of.flags.restart) {
    io.stdout.write(`restart ${names.join(", ")}\n`);
    if (!of.flags.dryRun) tellNotes(io, [`not restarted (--restart does): ${commands}`]);
  } else if (manager === undefined) {
    tellNotes(io, [
      `systemd does not run on this node: it is to be restarted by hand: ${commands}`,
    ]);
  } else {
    await manager.reload();
    for (const service of services) {
      io.stderr.write(`trine: restarting ${units[service]}\n`);
      await manager.restart(units[service]);
      await forget(files, [service]);
    }
  }
}

/** Those that have a change and were not started since. */
async function waitingServices(
  files: NodeFiles,
  manager: ServiceManager | undefined,
  units: Readonly<Record<Service, string>>,
): Promise<Service[]> {
  const pending = (await readRecord(files))?.pending ?? {};
  const waiting: Service[] = [];
  for (const service of SERVICES) {
    const since = pending[service];
    if (since === undefined) continue;
    const active = await manager?.activeSince(units[service]);
    if (active === undefined || active <= since) waiting.push(service);
  }
  return waiting;
}

async function forget(files: NodeFiles, services: readonly Service[]): Promise<void> {
  const record = await readRecord(files);
  if (record === undefined) return;
  const rest = Object.entries(record.pending).filter(
    ([name]) => !services.some((service) => service === name),
  );
  const pending: InstallRecord["pending"] = Object.fromEntries(rest);
  await writeRecord(files, { ...record, pending });
}
