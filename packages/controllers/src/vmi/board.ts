/** What trine.dev/machine-type takes: QEMU's own names, of which a node says no to those that its QEMU does not have. */
const UPSTREAM = /^(q35|pc-q35-\d{1,2}\.\d{1,2})$/;
/** Of a distribution's own QEMU: pc-q35-rhel9.6.0, pc-q35-noble. Nobody else's has it. */
const DISTRIBUTIONS = /^pc-q35-[a-z0-9][a-z0-9.-]{0,60}$/;
const I440FX = /^pc($|-i440fx-)/;

type Board =
  /** Undefined: the node's newest. */
  { readonly type: string | undefined; readonly isAnother: boolean } | { readonly refused: string };

/** Which board a machine has for KubeVirt's `machine.type`; `isAnother`: not quite the one that was named. */
export function boardOf(type: string | undefined): Board {
  if (type === undefined || type === "") return { type: undefined, isAnother: false };
  if (UPSTREAM.test(type)) return { type, isAnother: false };
  if (DISTRIBUTIONS.test(type)) return { type: undefined, isAnother: true };
  const known = "q35, pc-q35-X.Y as the node's QEMU has it, and pc-q35-… of distributions are";
  return I440FX.test(type)
    ? { refused: "i440FX is no board here, nor is it one of KubeVirt's own: take q35" }
    : { refused: `is no board here: ${known}` };
}
