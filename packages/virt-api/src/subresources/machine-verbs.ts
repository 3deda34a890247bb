import type { VirtualMachineInstance } from "@trine/kube-types";
import type { MachineVerb } from "@trine/node-door";
import type { VirtApiDeps } from "../deps.ts";
import { empty } from "../http/answer.ts";
import { decodeBody } from "../http/decode-body.ts";
import { badRequest, conflict, internalError, notAllowedOn } from "../refusals/refusal.ts";
import { atNode, nodeFailure } from "./at-node.ts";
import type { Call, Handle } from "./call.ts";
import { MACHINES, aboutInstance, getInstance, hasCondition } from "./objects.ts";
import { freezeOptions, isDryRun, parseDurationMs, pauseOptions } from "./options.ts";
import { kindOf, messageOf } from "@trine/base";

type Check = (instance: VirtualMachineInstance, name: string) => void;

interface Act {
  readonly verb: MachineVerb;
  readonly check: Check;
  readonly dryRun?: boolean;
  readonly unfreezeAfterMs?: number;
}

async function act(deps: VirtApiDeps, call: Call, { verb, check, dryRun, ...rest }: Act) {
  const { target, signal } = call;
  const instance = await getInstance(deps, target, signal);
  check(instance, target.name);
  if (dryRun === true) return empty(200);
  const { door, ref } = await atNode(deps, instance, signal);
  await door.act(ref, verb, { ...rest, signal }).catch((cause: unknown) => {
    throw nodeFailure(target.name, cause);
  });
  return empty(200);
}

/** Two words for one state: KubeVirt's clients and tests look for each where it is. */
function running(words: "VM is not running" | "VMI is not running"): Check {
  return ({ status }, name) => {
    if (status?.phase !== "Running") throw conflict(aboutInstance(name), words);
  };
}

export const pause: Handle = async (deps, call) => {
  const { dryRun } = decodeBody(call.body, pauseOptions);
  const check: Check = (instance, name) => {
    running("VM is not running")(instance, name);
    const probe = instance.spec.livenessProbe;
    if (probe !== undefined && probe.guestAgentPing === undefined) {
      const why = "Pausing VMIs with a non-GuestAgentPing LivenessProbe is not supported";
      throw notAllowedOn(aboutInstance(name), why);
    }
    if (hasCondition(instance, "Paused")) {
      throw conflict(aboutInstance(name), "VMI is already paused");
    }
  };
  return act(deps, call, { verb: "pause", check, dryRun: isDryRun(dryRun) });
};

export const unpause: Handle = async (deps, call) => {
  const { dryRun } = decodeBody(call.body, pauseOptions);
  await refuseDuringSnapshot(deps, call);
  const check: Check = (instance, name) => {
    running("VMI is not running")(instance, name);
    if (!hasCondition(instance, "Paused")) {
      throw conflict(aboutInstance(name), "VMI is not paused");
    }
  };
  return act(deps, call, { verb: "unpause", check, dryRun: isDryRun(dryRun) });
};

async function refuseDuringSnapshot({ kube }: VirtApiDeps, { target, signal }: Call) {
  const { namespace, name } = target;
  const machine = await kube.get(MACHINES, { namespace, name }, signal).catch((cause: unknown) => {
    if (kindOf(cause) === "notFound") return undefined;
    throw internalError(`unable to retrieve vm [${name}]: ${messageOf(cause)}`, { cause });
  });
  if (machine?.status?.snapshotInProgress !== undefined) {
    throw conflict({ kind: "virtualmachine", name }, "VM snapshot is in progress");
  }
}

export const freeze: Handle = async (deps, call) => {
  const { unfreezeTimeout } = decodeBody(call.body, freezeOptions);
  const ms = parseDurationMs(unfreezeTimeout ?? "0");
  if (ms === undefined) {
    const why = `unfreezeTimeout: time: invalid duration ${JSON.stringify(unfreezeTimeout)}`;
    throw badRequest(`Can not unmarshal Request body to struct, error: ${why.slice(0, 160)}`);
  }
  // Nothing and nought are the node's own time: a guest's disks never stand still for ever.
  const after = ms === 0 ? {} : { unfreezeAfterMs: Math.ceil(ms) };
  return act(deps, call, { verb: "freeze", check: running("VM is not running"), ...after });
};

export const unfreeze: Handle = (deps, call) =>
  act(deps, call, { verb: "unfreeze", check: running("VMI is not running") });

export const softReboot: Handle = (deps, call) =>
  act(deps, call, {
    verb: "softreboot",
    check: (instance, name) => {
      running("VM is not running")(instance, name);
      if (hasCondition(instance, "Paused", "True")) {
        throw conflict(aboutInstance(name), "VMI is paused");
      }
      const acpi = instance.spec.domain.features?.acpi?.enabled;
      if (!hasCondition(instance, "AgentConnected") && acpi === false) {
        const why = "VMI neither have the agent connected nor the ACPI feature enabled";
        throw conflict(aboutInstance(name), why);
      }
    },
  });

export const reset: Handle = (deps, call) =>
  act(deps, call, {
    verb: "reset",
    check: ({ status }, name) => {
      if (status?.phase === "Running") return;
      const phase = status?.phase ?? "";
      const why = `Failed to reset non-running VMI with phase ${phase}: VMI is not running`;
      throw conflict(aboutInstance(name), why);
    },
  });
