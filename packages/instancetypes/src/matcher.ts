import { TrineError } from "@trine/base";

/** What a machine is to be given, by its name. */
export interface Matcher {
  readonly name?: string;
  readonly kind?: string;
  readonly revisionName?: string;
  readonly inferFromVolume?: string;
  readonly inferFromVolumeFailurePolicy?: string;
}

export type Subject = "Instancetype" | "Preference";

/** Kinds that give, for the whole cluster and in a namespace. */
export type GivingKind = `VirtualMachine${"" | "Cluster"}${Subject}`;

/** The kind a matcher means. Its own word may be the singular or the plural, in any case; nothing is the cluster's. */
export function kindOfMatcher({ kind = "" }: Matcher, subject: Subject): GivingKind {
  const cluster = `VirtualMachineCluster${subject}` as const;
  if (kind === "") return cluster;
  const word = kind.toLowerCase();
  const found = ([cluster, `VirtualMachine${subject}`] as const).find((name) =>
    [name.toLowerCase(), `${name.toLowerCase()}s`].includes(word),
  );
  if (found !== undefined) return found;
  throw new TrineError("invalid", `got unexpected kind in ${subject}Matcher: ${kind}`);
}
