import { randomUUID } from "node:crypto";
import { TrineError } from "@trine/base";
import { Givers } from "@trine/controllers";
import {
  type InstancetypeSpec,
  type Matcher,
  type PreferenceSpec,
  type Subject,
  expandMachine,
  inferMatcher,
} from "@trine/instancetypes";
import type { KubeApi } from "@trine/kube-client";
import type { ClusterDefaults, VirtualMachine } from "@trine/kube-types";

/** A machine with its instance type and preference written out: as expand-spec answers it. */
export async function expanded(
  api: Pick<KubeApi, "get" | "create">,
  machine: VirtualMachine,
  defaults: ClusterDefaults,
  signal: AbortSignal,
): Promise<VirtualMachine> {
  const givers = new Givers({ api, revisions: { get: () => undefined } });
  const { instancetype, preference } = machine.spec;
  const choice = {
    instancetype: (await specOf(givers, machine, instancetype, "Instancetype", signal)) as
      InstancetypeSpec | undefined,
    preference: (await specOf(givers, machine, preference, "Preference", signal)) as
      PreferenceSpec | undefined,
  };
  const result = expandMachine(machine, choice, defaults, randomUUID());
  if (result.machine !== undefined) return result.machine;
  const fields = result.conflicts.map(({ field }) => field).join(", ");
  throw new TrineError("invalid", `VM field(s) ${fields} conflicts with selected instance type`);
}

async function specOf(
  givers: Givers,
  machine: VirtualMachine,
  matcher: Matcher | undefined,
  subject: Subject,
  signal: AbortSignal,
): Promise<object | undefined> {
  if (matcher === undefined) return undefined;
  const namespace = machine.metadata?.namespace ?? "default";
  const { revisionName = "" } = matcher;
  if (revisionName !== "") return givers.kept(namespace, revisionName, signal);
  const found = await inferMatcher(machine, matcher, subject, givers.sources(signal));
  return found === undefined
    ? undefined
    : (await givers.named(found, subject, namespace, signal)).spec;
}
