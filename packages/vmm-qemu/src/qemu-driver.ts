import { join } from "node:path";
import { TrineError, kindOf, messageOf } from "@trine/base";
import type { QmpClient } from "@trine/qmp";
import { VMM_KEY, checkTemplate } from "@trine/vmm";
import type { Machine, MachineDriver, MachineSpec, ProcessHost, ProcessPlan } from "@trine/vmm";
import { goOn } from "./go-on.ts";
import { pollGuestMemory } from "./machine-stats.ts";
import { QMP_SOCKET, planMachine } from "./plan-machine.ts";
import { stateDescriptor } from "./plan-origin.ts";
import { findQemuEnvironment } from "./qemu-environment.ts";
import type { QemuEnvironment } from "./qemu-environment.ts";
import { QemuMachine, killVmm } from "./qemu-machine.ts";
import { QmpLink } from "./qmp-link.ts";
import { templateKey } from "./template-key.ts";

const START_MS = 60_000;
const LOG_LINES = 5;

export interface QemuDriverOptions {
  readonly qemuPath: string;
  /** Read-only UEFI image; undefined = machines that ask for UEFI are refused. */
  readonly uefi?: { readonly code: string } | undefined;
}

/** Machines as QEMU processes (6.2 and later), controlled over QMP. */
export class QemuDriver implements MachineDriver {
  readonly name = "qemu";
  readonly can = { pause: true, hotplug: false, snapshot: false, templates: true };
  readonly #options: QemuDriverOptions;
  #environment: Promise<QemuEnvironment> | undefined;

  constructor(options: QemuDriverOptions) {
    this.#options = options;
  }

  /** Kind `invalid` for a spec that makes no machine; `unavailable` when QEMU ends instead of answering. */
  async start(spec: MachineSpec, host: ProcessHost, signal: AbortSignal): Promise<Machine> {
    this.#environment ??= findQemuEnvironment(this.#options);
    const plan = planMachine(spec, await this.#environment);
    await this.#prepare(spec, signal);
    signal.throwIfAborted();
    await host.spawn(plan);
    const link = linkTo(host);
    const until = AbortSignal.any([signal, AbortSignal.timeout(START_MS)]);
    try {
      const machine = await this.#takeOver(spec, host, link, until);
      await setGoing(spec, plan, link, until);
      return machine;
    } catch (cause) {
      link.detach();
      await killVmm(host);
      throw await startFailure(spec, host, cause);
    }
  }

  async recover(spec: MachineSpec, host: ProcessHost, signal: AbortSignal): Promise<Machine> {
    const link = linkTo(host);
    try {
      return await this.#takeOver(spec, host, link, signal);
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
    const { origin } = spec;
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

function linkTo(host: ProcessHost): QmpLink {
  return new QmpLink(join(host.machineDir, QMP_SOCKET));
}

async function monitor(link: QmpLink, signal: AbortSignal): Promise<QmpClient> {
  const client = await link.get(signal);
  if (client === undefined) throw new TrineError("notFound", "its QEMU process is gone");
  return client;
}

/** A clone waits for its state, and then for the word to run. Repeated, it goes on where it was. */
async function setGoing(
  spec: MachineSpec,
  plan: ProcessPlan,
  link: QmpLink,
  signal: AbortSignal,
): Promise<void> {
  if (spec.origin === undefined) return;
  await goOn(await monitor(link, signal), stateDescriptor(spec.origin, plan), signal);
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
