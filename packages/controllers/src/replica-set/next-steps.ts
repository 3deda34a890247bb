import { createHash } from "node:crypto";
import type { Stored } from "@trine/kube-client";
import type { VirtualMachineInstance, VirtualMachineInstanceReplicaSet } from "@trine/kube-types";
import { controllerOf } from "../owner.ts";
import { hasCondition, isFinal, isLeaving } from "../vm/seen.ts";
import { selects } from "./selector.ts";

export type ReplicaSet = Stored<VirtualMachineInstanceReplicaSet>;
type Instance = Stored<VirtualMachineInstance>;

/** What is to be done with instances. All of it may be repeated. */
export interface Steps {
  /** Names of those to make. */
  readonly create: readonly string[];
  readonly delete: readonly Instance[];
  /** Nobody has them, and the selector chooses them. */
  readonly adopt: readonly Instance[];
  /** The selector does not choose them any more. */
  readonly release: readonly Instance[];
}

/** The instances that are a set's, alive. */
export function activeOf(set: ReplicaSet, instances: readonly Instance[]): readonly Instance[] {
  return instances.filter(
    (vmi) => isOwn(set, vmi) && isChosen(set, vmi) && !isFinal(vmi) && !isLeaving(vmi),
  );
}

const NOTHING: Steps = { create: [], delete: [], adopt: [], release: [] };

/** As many as are made or deleted in one go: the next one is decided on what came of them. */
const BURST = 50;

/** Decides; does no I/O. `instances` are all of the set's namespace. */
export function nextSteps(set: ReplicaSet, instances: readonly Instance[]): Steps {
  if (set.metadata.deletionTimestamp !== undefined || set.spec.paused === true) return NOTHING;
  const active = activeOf(set, instances);
  const adopt = instances.filter(
    (vmi) =>
      controllerOf(vmi) === undefined && isChosen(set, vmi) && !isFinal(vmi) && !isLeaving(vmi),
  );
  const release = instances.filter((vmi) => isOwn(set, vmi) && !isChosen(set, vmi));
  const ended = instances.filter((vmi) => isOwn(set, vmi) && isFinal(vmi) && !isLeaving(vmi));
  const lacking = (set.spec.replicas ?? 1) - active.length - adopt.length;
  const surplus = lacking < 0 ? leastOf(active, Math.min(-lacking, BURST)) : [];
  return {
    create: lacking > 0 ? freeNames(set, instances, Math.min(lacking, BURST)) : [],
    delete: [...ended, ...surplus],
    adopt,
    release,
  };
}

function isOwn({ metadata }: ReplicaSet, vmi: Instance): boolean {
  return controllerOf(vmi)?.uid === metadata.uid;
}

function isChosen({ spec }: ReplicaSet, { metadata }: Instance): boolean {
  return selects(spec.selector, metadata.labels);
}

/** Those that are missed least: not ready before ready, and new before old. */
function leastOf(active: readonly Instance[], count: number): readonly Instance[] {
  const rank = (vmi: Instance): number => (hasCondition(vmi, "Ready", "True") ? 1 : 0);
  const born = ({ metadata }: Instance): number => Date.parse(metadata.creationTimestamp ?? "");
  return [...active]
    .sort(
      (a, b) =>
        rank(a) - rank(b) ||
        born(b) - born(a) ||
        a.metadata.name.localeCompare(b.metadata.name, "en"),
    )
    .slice(0, count);
}

const LETTERS = "bcdfghjklmnpqrstvwxz2456789";
const SUFFIX = 5;

/** Whoever decides on the same instances makes one of the same name: there cannot be too many. */
function freeNames(
  { metadata }: ReplicaSet,
  instances: readonly Instance[],
  count: number,
): readonly string[] {
  const taken = new Set(instances.map((vmi) => vmi.metadata.name));
  const names: string[] = [];
  for (let at = 0; names.length < count; at += 1) {
    const hash = createHash("sha256").update(`${metadata.uid} ${at}`).digest();
    const letters = Array.from(hash.subarray(0, SUFFIX), (byte) => LETTERS[byte % LETTERS.length]);
    const name = `${metadata.name.slice(0, 57)}-${letters.join("")}`;
    if (!taken.has(name)) names.push(name);
    taken.add(name);
  }
  return names;
}
