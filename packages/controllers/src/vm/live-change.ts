import { isDeepStrictEqual } from "node:util";
import { parseQuantity } from "@trine/base";
import { type Choice, applyChoice } from "@trine/instancetypes";
import { type JsonPatchOperation, pointer } from "@trine/kube-client";
import {
  type ClusterDefaults,
  type DomainSpec,
  MAX_PROCESSORS,
  type VirtualMachineInstanceSpec,
  defaultInstanceSpec,
} from "@trine/kube-types";
import type { Facts, Instance, LiveChange, Seen } from "./seen.ts";

type Spec = VirtualMachineInstanceSpec;

const NONE: LiveChange = { kind: "none" };
/** In KubeVirt's words. */
const NOT_LIVE = "a non-live-updatable field was changed in the template spec";
/** Its pod's requests are its limits, and these do not grow. */
const PINNED = "CPUs of its own are given at the start";
/** They hold for the instance's next pod. */
const PLACES = ["nodeSelector", "affinity", "tolerations"] as const;

/** What is seen, and what becomes of it: worked out once, for all that ask. */
export function sighted(facts: Facts): Seen {
  return { ...facts, change: liveChange(facts) };
}

/**
 * Instance types and preferences are looked through: what they make of the template counts. Fields that follow live are compared
 * with the instance, all others with what the machine was started as.
 */
function liveChange({ vm, vmi, started, choice, defaults }: Facts): LiveChange {
  if (vmi === undefined || started === undefined) return NONE;
  if (choice === undefined) return { kind: "unknown" };
  const uuid = vmi.spec.domain.firmware?.uuid ?? "";
  const whole = (spec: Spec | undefined, by: Choice): Spec | undefined =>
    wholeSpec(spec, by, { defaults, uuid });
  const now = whole(vm.spec.template.spec, choice);
  const then = whole(started.spec.template.spec, started.choice);
  if (now === undefined || then === undefined) return NONE;
  if (!isDeepStrictEqual(withoutLive(then), withoutLive(now))) return restart(NOT_LIVE);
  const wanted = defaultInstanceSpec(now, defaults, uuid);
  const asked = defaultInstanceSpec(vmi.spec, defaults, uuid);
  const why = growthFault(wanted, asked, vmi);
  if (why !== undefined) return restart(why);
  const operations = operationsOf(wanted, asked);
  if (operations.length === 0) return NONE;
  if (defaults.rolloutStrategy !== "Stage") return { kind: "live", operations };
  return restart("by the cluster's rollout strategy Stage changes wait for the next start");
}

function restart(why: string): LiveChange {
  return { kind: "restart", why };
}

/** A template without an identity means the one that its instance has. */
function wholeSpec(
  spec: Spec | undefined,
  choice: Choice,
  { defaults, uuid }: { readonly defaults: ClusterDefaults; readonly uuid: string },
): Spec | undefined {
  if (spec === undefined) return undefined;
  const applied = applyChoice(choice, { spec, annotations: {} }, "spec", defaults).template?.spec;
  if (applied === undefined) return undefined;
  const { domain } = applied;
  const own = domain.firmware?.uuid ?? uuid;
  if (own === "") return applied;
  return { ...applied, domain: { ...domain, firmware: { ...domain.firmware, uuid: own } } };
}

/** One of each is what a machine has that says none. */
function withoutLive(spec: Spec): unknown {
  const { cores, threads, ...cpu } = without(spec.domain.cpu ?? {}, "sockets");
  const topology = { cores: cores ?? 1, threads: threads ?? 1 };
  const memory = without(spec.domain.memory ?? {}, "guest");
  const domain = { ...spec.domain, cpu: { ...cpu, ...topology }, memory };
  return { ...without(spec, ...PLACES), domain };
}

function without<T extends object>(object: T, ...names: readonly (keyof T & string)[]): Partial<T> {
  const kept = Object.entries(object).filter(([name]) => !names.some((each) => each === name));
  return Object.fromEntries(kept) as Partial<T>;
}

/** What a machine that runs cannot become, in words. */
function growthFault(
  wanted: Spec,
  asked: Spec,
  { spec: { domain }, status }: Instance,
): string | undefined {
  const { maxSockets = 0, cores = 1, threads = 1 } = domain.cpu ?? {};
  const { maxGuest } = domain.memory ?? {};
  return (
    socketsFault(wanted.domain.cpu, asked.domain.cpu, {
      // As the pod's machine has it, whatever an instance says.
      most: Math.min(maxSockets, Math.floor(MAX_PROCESSORS / (cores * threads))),
      has: status?.currentCPUTopology?.sockets,
    }) ??
    memoryFault(wanted.domain.memory, asked.domain, {
      most: maxGuest,
      has: status?.memory?.guestCurrent,
    })
  );
}

/** What an instance was made with room for, and what its guest has. */
interface Bounds<T> {
  readonly most: T;
  readonly has: T | undefined;
}

function socketsFault(
  wanted: DomainSpec["cpu"],
  asked: DomainSpec["cpu"],
  { most, has = asked?.sockets ?? 1 }: Bounds<number>,
): string | undefined {
  const sockets = wanted?.sockets ?? 1;
  if (sockets < has) return `${sockets} CPU sockets are fewer than the ${has} that the guest has`;
  if (sockets === (asked?.sockets ?? 1)) return undefined;
  if (asked?.dedicatedCpuPlacement === true) return PINNED;
  if (sockets <= most) return undefined;
  return `${sockets} CPU sockets are more than the machine was started with room for`;
}

function memoryFault(
  wanted: DomainSpec["memory"],
  { memory: asked, cpu }: DomainSpec,
  { most, has = asked?.guest }: Bounds<number | string | undefined>,
): string | undefined {
  const guest = wanted?.guest;
  if (amountOf(guest) < amountOf(has)) {
    return `memory of ${guest ?? 0} is less than the ${has ?? 0} that the guest has`;
  }
  if (amountOf(guest) === amountOf(asked?.guest)) return undefined;
  if (cpu?.dedicatedCpuPlacement === true) return PINNED;
  if (asked?.hugepages !== undefined) return "huge pages are taken at the start";
  if (amountOf(guest) <= amountOf(most)) return undefined;
  return `memory of ${guest ?? 0} is more than the machine was started with room for`;
}

function amountOf(quantity: number | string | undefined): bigint {
  return parseQuantity(String(quantity ?? 0)) ?? 0n;
}

function operationsOf(wanted: Spec, asked: Spec): JsonPatchOperation[] {
  const [now, before] = [wanted.domain, asked.domain];
  const isSame = amountOf(now.memory?.guest) === amountOf(before.memory?.guest);
  return [
    ...changed(["domain", "cpu", "sockets"], before.cpu?.sockets, now.cpu?.sockets),
    ...(isSame
      ? []
      : changed(["domain", "memory", "guest"], before.memory?.guest, now.memory?.guest)),
    ...PLACES.flatMap((name) => changed([name], asked[name], wanted[name])),
  ];
}

function changed(
  names: readonly string[],
  before: unknown,
  after: unknown,
): readonly JsonPatchOperation[] {
  if (isDeepStrictEqual(before, after)) return [];
  const path = pointer("spec", ...names);
  const tested = before === undefined ? [] : [{ op: "test", path, value: before } as const];
  if (after === undefined) return [...tested, { op: "remove", path }];
  return [...tested, { op: "add", path, value: after }];
}
