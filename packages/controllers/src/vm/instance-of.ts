import { TrineError } from "@trine/base";
import { type Choice, applyChoice } from "@trine/instancetypes";
import {
  type ClusterDefaults,
  MACHINE_FINALIZER,
  type VirtualMachineInstance,
  defaultInstance,
} from "@trine/kube-types";
import { withIdentity } from "./identity.ts";
import { GENERATION } from "./next-step.ts";
import { ownedBy } from "../owner.ts";
import { type Machine } from "./seen.ts";

/** How a machine is started. */
export interface Start {
  readonly choice: Choice;
  readonly paused: boolean;
  /** Of the machine as it is now. */
  readonly revision: string;
  readonly defaults: ClusterDefaults;
  readonly now: Date;
}

/** The instance that a machine becomes. Rejects with `invalid` a template that contradicts its instance type. */
export function instanceOf(vm: Machine, start: Start): VirtualMachineInstance {
  const { metadata, spec } = vm.spec.template;
  if (spec === undefined) throw new TrineError("invalid", "spec.template.spec is missing");
  const said = { spec, annotations: metadata?.annotations ?? {} };
  const { template, conflicts } = applyChoice(start.choice, said, "spec", start.defaults);
  if (conflicts !== undefined) {
    const fields = conflicts.map(({ field }) => field).join(", ");
    throw new TrineError("invalid", `VMI conflicts with instancetype spec in fields: [${fields}]`);
  }
  const { name, namespace = "default", uid, generation = 0 } = vm.metadata;
  const own = withIdentity(template.spec, uid);
  const instance: VirtualMachineInstance = {
    apiVersion: "kubevirt.io/v1",
    kind: "VirtualMachineInstance",
    metadata: {
      name,
      namespace,
      labels: { ...metadata?.labels },
      annotations: {
        ...template.annotations,
        ...givenBy(vm),
        [GENERATION]: String(generation),
      },
      ownerReferences: [ownedBy(vm)],
      finalizers: [MACHINE_FINALIZER],
    },
    spec: start.paused ? { ...own, startStrategy: "Paused" } : own,
  };
  const uuid = (): string => own.domain.firmware?.uuid ?? uid;
  const whole = defaultInstance(instance, start.defaults, { uuid, now: start.now });
  return { ...whole, status: { ...whole.status, virtualMachineRevisionName: start.revision } };
}

/** Names of what the machine was given, for who looks at the instance. */
function givenBy({ spec }: Machine): Readonly<Record<string, string>> {
  const { instancetype, preference } = spec;
  return { ...named("instancetype", instancetype), ...named("preference", preference) };
}

function named(
  what: string,
  matcher: { readonly name?: string; readonly kind?: string } | undefined,
): Readonly<Record<string, string>> {
  const { name = "", kind = "" } = matcher ?? {};
  if (name === "") return {};
  const isCluster = kind === "" || kind.toLowerCase().startsWith("virtualmachinecluster");
  return { [`kubevirt.io/${isCluster ? "cluster-" : ""}${what}-name`]: name };
}
