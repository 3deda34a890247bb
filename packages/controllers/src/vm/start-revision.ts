import type { ControllerRevision, Stored } from "@trine/kube-client";
import type { VirtualMachineSpec } from "@trine/kube-types";
import { ownedBy } from "../owner.ts";
import type { Machine } from "./seen.ts";

function prefixOf({ metadata }: Machine): string {
  return `revision-start-vm-${metadata.uid}-`;
}

/** What a machine is when it is started, with the revisions of what it is given by name. */
export function startRevision(vm: Machine): ControllerRevision & {
  readonly metadata: { readonly name: string };
} {
  const { namespace = "default", generation = 0 } = vm.metadata;
  const { instancetypeRef, preferenceRef } = vm.status ?? {};
  const { instancetype, preference } = vm.spec;
  return {
    apiVersion: "apps/v1",
    kind: "ControllerRevision",
    metadata: {
      name: `${prefixOf(vm)}${generation}`,
      namespace,
      ownerReferences: [ownedBy(vm)],
    },
    data: {
      spec: {
        ...vm.spec,
        ...withRevision("instancetype", instancetype, instancetypeRef),
        ...withRevision("preference", preference, preferenceRef),
      },
    },
    revision: generation,
  };
}

type Reference = { readonly controllerRevisionRef?: { readonly name?: string } } | null | undefined;

function withRevision(name: string, matcher: object | undefined, reference: Reference): object {
  const revisionName = reference?.controllerRevisionRef?.name;
  if (matcher === undefined || revisionName === undefined) return {};
  return { [name]: { ...matcher, revisionName } };
}

/** A machine's revisions of its starts among all of its revisions. */
export function startRevisions(
  vm: Machine,
  all: readonly Stored<ControllerRevision>[],
): readonly Stored<ControllerRevision>[] {
  return all
    .filter(({ metadata }) => metadata.name.startsWith(prefixOf(vm)))
    .sort((a, b) => b.revision - a.revision);
}

/** The spec in a revision of ours: it was written by this controller, and nothing but it may write there. */
export function specIn({ data }: ControllerRevision): VirtualMachineSpec | undefined {
  return data?.["spec"] as VirtualMachineSpec | undefined;
}
