import { isDeepStrictEqual } from "node:util";
import type { Seen } from "./seen.ts";

export const RESTART_REQUIRED = "RestartRequired";

/** Whether the instance is what the template says. False when that is not known. */
export function isTemplateSame(seen: Seen): boolean {
  const { vm, vmi, started } = seen;
  if (started === undefined) return false;
  const isSame = isDeepStrictEqual(started.spec.template.spec, vm.spec.template.spec);
  return vmi === undefined ? isSame : seen.change.kind === "none";
}

/** Why the machine runs as what it is no more; undefined: it does not, or follows while it runs. While that cannot be told, what was said. */
export function restartReason(seen: Seen): string | undefined {
  const { change } = seen;
  if (change.kind === "restart") return change.why;
  return change.kind === "unknown" ? reasonBefore(seen) : undefined;
}

function reasonBefore({ vm }: Seen): string | undefined {
  const said = vm.status?.conditions?.find(({ type }) => type === RESTART_REQUIRED);
  return said?.status === "True" ? (said.message ?? "") : undefined;
}
