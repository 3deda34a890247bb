import { parseMachineAnnotations } from "@trine/annotations";
import { kindOf, messageOf, printable, sleep } from "@trine/base";
import type { ErrorKind } from "@trine/base";
import type { GuestAgent, RequestOptions } from "@trine/guest-link";
import type { MachineReport } from "@trine/node-door";
import { readBundle } from "../bundle.ts";
import type { JsonObject } from "../json-shape.ts";
import type { PodContext } from "../pod-context.ts";
import { after, before, credentialSteps, noneGiven } from "./credential-steps.ts";
import type { WantedCredentials } from "./credential-steps.ts";
import { hasCredentials, readCredentials } from "./read-credentials.ts";
import type { CredentialSources } from "./read-credentials.ts";

const TURN_MS = 10_000;
/** A guest that has written its files anew has its keys again after that long. */
const ANEW_MS = 5 * 60_000;
const PING_MS = 2_000;
const AGAIN_MS = 250;
const MAX_MESSAGE = 1_000;

type Said = NonNullable<MachineReport["credentials"]>;
type Step = ReturnType<typeof credentialSteps>[number];

/**
 * Keys and passwords of the guest's users, kept as the pod's volumes have them: kubelet keeps those fresh, so nobody reads a
 * Secret for it. What was given is noted with the pod, for the next daemon. Nothing of a password is said or logged.
 */
export class MachineCredentials {
  readonly #pod: PodContext;
  readonly #agent: () => GuestAgent | undefined;
  #end = new AbortController();
  #turn = new AbortController();
  #said: Said | undefined;
  /** On the monotonic clock. */
  #toldAt = -Infinity;

  constructor(pod: PodContext, agent: () => GuestAgent | undefined) {
    this.#pod = pod;
    this.#agent = agent;
  }

  /** Undefined where none are asked for. */
  get said(): MachineReport["credentials"] {
    return this.#said;
  }

  /** A machine runs, or was found running; `life` aborts with it. */
  begin(life: AbortSignal): void {
    this.stop();
    this.#end = new AbortController();
    const until = AbortSignal.any([life, this.#end.signal]);
    void this.#follow(until).catch((cause: unknown) => {
      if (!until.aborted)
        this.#pod.log.error({ err: messageOf(cause) }, "credentials of the guest");
    });
  }

  /** The guest's agent is there, maybe of a guest that has booted anew. */
  soon(): void {
    this.#toldAt = -Infinity;
    this.#turn.abort();
  }

  stop(): void {
    this.#end.abort();
    this.#said = undefined;
  }

  async #follow(until: AbortSignal): Promise<void> {
    const record = this.#pod.document.machine;
    if (record === undefined) return;
    const { annotations, spec } = await readBundle(record.bundle);
    const settings = parseMachineAnnotations({ ...annotations, ...this.#pod.sandbox.annotations });
    if (!hasCredentials(settings)) return;
    for (;;) {
      this.#turn = new AbortController();
      const said = await this.#look(settings, spec, until);
      until.throwIfAborted();
      this.#say(said);
      await sleep(TURN_MS, AbortSignal.any([until, this.#turn.signal])).catch((cause: unknown) => {
        if (!this.#turn.signal.aborted) throw cause;
      });
    }
  }

  /** Of a guest that stands still nothing is known anew. */
  async #look(sources: CredentialSources, spec: JsonObject, until: AbortSignal): Promise<Said> {
    const record = this.#pod.document.machine;
    const stands = record?.state === "paused" || record?.frozenUntil !== undefined;
    if (stands && this.#said !== undefined) return this.#said;
    try {
      const agent = this.#agent();
      if (agent === undefined) return failed(["the machine has no channel to a guest agent"]);
      if (!(await answers(agent, until))) return failed([SILENT]);
      return await this.#give(agent, sources, spec, until);
    } catch (cause) {
      return failed([messageOf(cause)]);
    }
  }

  /** Every step is tried, whatever becomes of the others. */
  async #give(
    agent: GuestAgent,
    sources: CredentialSources,
    spec: JsonObject,
    signal: AbortSignal,
  ): Promise<Said> {
    const wanted = await readWhole(sources, spec, signal);
    const anew = performance.now() - this.#toldAt >= ANEW_MS;
    const record = this.#pod.document.machine;
    const steps = credentialSteps(wanted, record?.credentials ?? noneGiven(), anew);
    const problems: string[] = [];
    let hasAllKeys = true;
    for (const step of steps) {
      const isNew = await this.#note(before, step);
      try {
        await take(agent, step, { signal });
      } catch (cause) {
        signal.throwIfAborted();
        problems.push(problemOf(step, cause));
        hasAllKeys &&= step.do !== "addKeys";
        continue;
      }
      const isDone = await this.#note(after, step);
      if (isNew || isDone) this.#pod.log.info({ user: step.user }, DONE[step.do]);
    }
    if (anew && hasAllKeys) this.#toldAt = performance.now();
    return problems.length > 0 ? failed(problems) : { synchronized: true };
  }

  /** Answers whether it was news. */
  async #note(how: typeof before, step: Step): Promise<boolean> {
    const record = this.#pod.document.machine;
    if (record === undefined) return false;
    const given = record.credentials ?? noneGiven();
    const next = how(given, step);
    if (JSON.stringify(next) === JSON.stringify(record.credentials)) return false;
    record.credentials = next;
    await this.#pod.save();
    return true;
  }

  #say(said: Said): void {
    const isNew = JSON.stringify(said) !== JSON.stringify(this.#said);
    this.#said = said;
    if (!isNew) return;
    if (!said.synchronized) this.#pod.log.warn({ why: said.message }, "credentials of the guest");
    this.#pod.deps.changed?.();
  }
}

/** kubelet writes a volume anew in more than one step: what is missing is looked for once more. */
async function readWhole(
  sources: CredentialSources,
  spec: JsonObject,
  signal: AbortSignal,
): Promise<WantedCredentials> {
  try {
    return await readCredentials(sources, spec);
  } catch (cause) {
    if (kindOf(cause) !== "notFound") throw cause;
    await sleep(AGAIN_MS, signal);
    return await readCredentials(sources, spec);
  }
}

const DONE: Readonly<Record<Step["do"], string>> = {
  addKeys: "keys of a user of the guest were added",
  removeKeys: "keys of a user of the guest were taken away",
  setPassword: "the password of a user of the guest was set",
};

const COMMANDS: Readonly<Record<Step["do"], string>> = {
  addKeys: "guest-ssh-add-authorized-keys",
  removeKeys: "guest-ssh-remove-authorized-keys",
  setPassword: "guest-set-user-password",
};

function take(agent: GuestAgent, step: Step, options: RequestOptions): Promise<void> {
  if (step.do === "setPassword") return agent.setPassword(step.user, step.password, options);
  return step.do === "addKeys"
    ? agent.addAuthorizedKeys(step.user, step.keys, options)
    : agent.removeAuthorizedKeys(step.user, step.keys, options);
}

const SILENT = "the guest's agent does not answer";

async function answers(agent: GuestAgent, signal: AbortSignal): Promise<boolean> {
  try {
    await agent.ping({ timeoutMs: PING_MS, signal });
    return true;
  } catch {
    return false; // why is in no words of ours
  }
}

/** A guest's own words are not repeated: it knows its password, and might say it. */
const REFUSALS: Partial<Record<ErrorKind, string>> = {
  unimplemented: "the guest's agent does not know or allow it (qemu-guest-agent 5.2 does)",
  unavailable: SILENT,
};

function problemOf(step: Step, cause: unknown): string {
  const why = REFUSALS[kindOf(cause)] ?? "the guest refuses: is there such a user?";
  return `${COMMANDS[step.do]} for ${step.user}: ${why}`;
}

function failed(problems: readonly string[]): Said {
  const message = printable(problems.join("; "), MAX_MESSAGE);
  return { synchronized: false, message };
}
