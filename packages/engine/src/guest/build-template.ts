import { chown, mkdir } from "node:fs/promises";
import { once } from "node:events";
import { createConnection } from "node:net";
import { join } from "node:path";
import { addAbortSignal } from "node:stream";
import { AgentClient } from "@trine/guest-link";
import { ShimProcessHost } from "@trine/shim-client";
import type { ShimLink } from "@trine/shim-client";
import { VMM_KEY } from "@trine/vmm";
import type { MachineSpec, Template } from "@trine/vmm";
import type { EngineDeps } from "../deps.ts";
import { endChild } from "../end-child.ts";
import { encodeTemplateRecord } from "./template-record.ts";
import type { TemplateRecord } from "./template-record.ts";

/** A quiet link's last stream: opened and closed in good order, it says that nothing more is under way. */
const LAST_STREAM = "rpc\n";
/** The kernel may take it before it looks for a pod's machine. */
const OOM_SCORE_ADJ = 500;

export interface TemplateBuild {
  /** The template's own directory, its shim's. */
  readonly dir: string;
  readonly shim: ShimLink;
  readonly record: TemplateRecord;
}

/**
 * Boots a guest that is nobody's, waits for its agent and saves it. No pod has to do with it: what is in its
 * memory is kernel and agent. The shim holds the memory from then on; its VMM has ended.
 */
export async function buildTemplate(
  deps: EngineDeps,
  { dir, shim, record }: TemplateBuild,
  signal: AbortSignal,
): Promise<TemplateRecord> {
  await shim.putState(encodeTemplateRecord(record), 1n);
  const machineDir = join(dir, "machine");
  await mkdir(machineDir, { mode: 0o700 });
  await chown(machineDir, record.uid, record.uid);
  if (record.spec.slots !== undefined) await mkdir(record.spec.slots.dir, { recursive: true });
  for (const { tap, mtu } of record.spec.nics) {
    if (tap !== undefined) await shim.openTap(tap, mtu);
  }
  const guestPath = join(dir, "guest.sock");
  const host = new ShimProcessHost(shim, {
    machineDir,
    taskId: "",
    uid: record.uid,
    gid: record.uid,
    logPath: join(dir, "vmm.log"),
    spoolPath: join(dir, "console.log"),
    spoolBytes: deps.config.machines.consoleSpoolBytes,
    attachPath: "",
    guestPath,
    oomScoreAdj: OOM_SCORE_ADJ,
  });
  const machine = await deps.driver.start(record.spec, host, signal);
  let template: Template;
  try {
    await untilQuiet(guestPath, signal);
    template = await machine.saveTemplate(join(dir, "state"), signal);
  } finally {
    machine.detach();
  }
  await endChild(shim, VMM_KEY);
  const done: TemplateRecord = { ...record, template };
  await shim.putState(encodeTemplateRecord(done), 2n);
  return done;
}

/** The machine a template is made of: like those of its pods in all but what is a pod's own. */
export function templateMachine(dir: string, like: MachineSpec): MachineSpec {
  const { slots } = like;
  const spec: MachineSpec = {
    ...like,
    id: "template",
    uuid: "00000000-0000-4000-8000-000000000000",
    nics: like.nics.map((nic) => ({ ...nic, mac: "02:00:00:00:00:00", mtu: 1500 })),
    ...(slots === undefined ? {} : { slots: { ...slots, dir: join(dir, "slots") } }),
    isTemplate: true,
  };
  Reflect.deleteProperty(spec, "origin");
  return spec;
}

/**
 * The agent has answered and the link carries nothing: a clone's guest must not wait for the rest of a frame
 * that its template's host had begun. Frames keep their order, so when the last stream has ended on both sides
 * every earlier one has arrived.
 */
async function untilQuiet(guestPath: string, signal: AbortSignal): Promise<void> {
  const agent = new AgentClient(guestPath);
  try {
    await agent.untilAnswers(signal);
  } finally {
    agent.close();
  }
  const last = addAbortSignal(signal, createConnection(guestPath));
  last.end(LAST_STREAM);
  last.resume();
  await once(last, "close", { signal });
}
