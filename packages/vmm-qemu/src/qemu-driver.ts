import { join } from "node:path";
import { TrineError, kindOf, messageOf } from "@trine/base";
import type { QmpClient } from "@trine/qmp";
import { TPM_KEY, VMM_KEY, checkTemplate } from "@trine/vmm";
import type { Machine, MachineDriver, MachineSpec, ProcessHost, ProcessPlan } from "@trine/vmm";
import { goOn } from "./go-on.ts";
import { pollGuestMemory } from "./machine-stats.ts";
import { QMP_SOCKET, nicId, planMachine, waitsForWord } from "./plan-machine.ts";
import { stateDescriptor } from "./plan-origin.ts";
import { planTpm } from "./plan-tpm.ts";
import { findQemuEnvironment } from "./qemu-environment.ts";
import type { QemuEnvironment, QemuFiles } from "./qemu-environment.ts";
import { QemuMachine, killChild, killVmm } from "./qemu-machine.ts";
import { QmpLink } from "./qmp-link.ts";
import { queryQemu } from "./query-qemu.ts";
import { checkFeatures, pinCpus } from "./set-cpus.ts";
import { templateKey } from "./template-key.ts";

const START_MS = 60_000;
const LOG_LINES = 5;

/** Machines as QEMU processes (6.2 and later), controlled over QMP. */
export class QemuDriver implements MachineDriver {
  readonly name = "qemu";
  readonly can = { pause: true, hotplug: false, snapshot: false, templates: true };
  readonly #options: QemuFiles;
  #environment: Promise<QemuEnvironment> | undefined;

  constructor(options: QemuFiles) {
    this.#options = options;
  }

  /** Kind `invalid` for a spec that makes no machine; `unavailable` when QEMU ends instead of answering. */
  async start(spec: MachineSpec, host: ProcessHost, signal: AbortSignal): Promise<Machine> {
    this.#environment ??= findQemuEnvironment(this.#options);
    const environment = await this.#environment;
    const plan = planMachine(spec, environment);
    await this.#prepare(spec, signal);
    signal.throwIfAborted();
    await startTpm(spec, environment, host);
    await host.spawn(plan);
    const link = linkTo(host);
    const until = AbortSignal.any([signal, AbortSignal.timeout(START_MS)]);
    try {
      const machine = await this.#takeOver(spec, host, link, until);
      await setGoing(spec, plan, { host, link }, until);
      return machine;
    } catch (cause) {
      link.detach();
      await killAll(spec, host);
      throw await startFailure(spec, host, cause);
    }
  }

  /** A start that was cut off before its guest ran is finished, or the machine is ended as `start` would have. */
  async recover(spec: MachineSpec, host: ProcessHost, signal: AbortSignal): Promise<Machine> {
    const link = linkTo(host);
    try {
      const machine = await this.#takeOver(spec, host, link, signal);
      await finishStart(spec, { host, link }, signal);
      return machine;
    } catch (cause) {
      link.detach();
      throw TrineError.during(`recover machine ${spec.id}`, cause);
    }
  }

  async templateKey(spec: MachineSpec, signal: AbortSignal): Promise<string> {
    this.#environment ??= findQemuEnvironment(this.#options);
    return templateKey(spec, await this.#environment, signal);
  }

  async #prepare(spec: MachineSpec, signal: AbortSignal): Promise<void> {
    const { origin, hardware } = spec;
    await requireBoard(hardware?.board, this.#options.qemuPath, signal);
    if (origin === undefined) return;
    await checkTemplate(origin.template, await this.templateKey(spec, signal));
  }

  /** Kind `notFound` when there is no process. */
  async #takeOver(
    spec: MachineSpec,
    host: ProcessHost,
    link: QmpLink,
    signal: AbortSignal,
  ): Promise<Machine> {
    const client = await monitor(link, signal);
    await pollGuestMemory(spec, client, signal);
    return new QemuMachine(spec, host, link, (of, until) => this.templateKey(of, until));
  }
}

interface Reach {
  readonly host: ProcessHost;
  readonly link: QmpLink;
}

function linkTo(host: ProcessHost): QmpLink {
  return new QmpLink(join(host.machineDir, QMP_SOCKET));
}

async function monitor(link: QmpLink, signal: AbortSignal): Promise<QmpClient> {
  const client = await link.get(signal);
  if (client === undefined) throw new TrineError("notFound", "its QEMU process is gone");
  return client;
}

/** Before the VMM, which connects to it at its start and never again. */
async function startTpm(
  { id, hardware }: MachineSpec,
  { swtpmPath, ...environment }: QemuEnvironment,
  host: ProcessHost,
): Promise<void> {
  if (hardware?.tpm === undefined) return;
  if (swtpmPath === undefined) {
    const why = "a TPM, but this node has no swtpm: install the package swtpm";
    throw new TrineError("wrongState", `machine ${id}: ${why}`);
  }
  await host.spawn(planTpm(hardware.tpm, { ...environment, swtpmPath }));
}

/** A clone waits for its state, and then for the word to run. Repeated, it goes on where it was. */
async function setGoing(
  spec: MachineSpec,
  plan: ProcessPlan,
  { host, link }: Reach,
  signal: AbortSignal,
): Promise<void> {
  if (waitsForWord(spec)) await giveWord(spec, host, await monitor(link, signal), signal);
  if (spec.origin === undefined) return;
  await goOn(await monitor(link, signal), stateDescriptor(spec.origin, plan), signal);
}

/** Repeatable. */
async function giveWord(
  spec: MachineSpec,
  host: ProcessHost,
  client: QmpClient,
  signal: AbortSignal,
): Promise<void> {
  await checkFeatures(spec, client, signal);
  await pinCpus(spec, client, host, signal);
  await unplugNics(spec, client, signal);
  if (spec.startsPaused !== true) await client.execute("cont", {}, { signal });
}

/** What arrives at such a card is dropped, and its guest sees no carrier. */
async function unplugNics(
  { nics }: MachineSpec,
  client: QmpClient,
  signal: AbortSignal,
): Promise<void> {
  for (const nic of nics) {
    if (nic.isUnplugged !== true) continue;
    await client.execute("set_link", { name: nicId(nic), up: false }, { signal });
  }
}

/** Gives the word that a daemon which has died did not come to give. */
async function finishStart(
  spec: MachineSpec,
  { host, link }: Reach,
  signal: AbortSignal,
): Promise<void> {
  if (!waitsForWord(spec)) return;
  const client = await monitor(link, signal);
  const { status } = await client.execute("query-status", {}, { signal });
  if (status !== "prelaunch") return;
  try {
    await giveWord(spec, host, client, signal);
  } catch (cause) {
    // What only took too long is tried again; what may not run would wait for ever.
    if (!signal.aborted) await killAll(spec, host);
    throw cause;
  }
}

async function killAll(spec: MachineSpec, host: ProcessHost): Promise<void> {
  await killVmm(host);
  if (spec.hardware?.tpm !== undefined) await killChild(host, TPM_KEY);
}

/** Kind `invalid` for a board that this QEMU has not. */
async function requireBoard(
  board: string | undefined,
  qemuPath: string,
  signal: AbortSignal,
): Promise<void> {
  if (board === undefined || board === "q35") return;
  const { machineTypes, version } = await queryQemu(qemuPath, signal);
  if (machineTypes.includes(board)) return;
  const has = machineTypes.filter((type) => type.startsWith("pc-q35-")).join(", ");
  throw new TrineError(
    "invalid",
    `trine.dev/machine-type: QEMU ${version} has no ${board}: ${has}`,
  );
}

async function startFailure(
  spec: MachineSpec,
  host: ProcessHost,
  cause: unknown,
): Promise<TrineError> {
  const log = (await host.logTail?.(VMM_KEY)) ?? "";
  const lines = log.trim().split("\n").slice(-LOG_LINES).join("; ");
  const said = lines === "" ? "" : `; QEMU said: ${lines}`;
  const kind = kindOf(cause) === "notFound" ? "unavailable" : kindOf(cause);
  return new TrineError(kind, `start machine ${spec.id}: ${messageOf(cause)}${said}`, { cause });
}
