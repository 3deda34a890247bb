import { access, constants } from "node:fs/promises";
import { UNTESTED } from "./finding.ts";
import type { Check, Finding } from "./finding.ts";

/** As machines.virtiofsd has it where nothing is said, and where QEMU's own package had it until 7.2. */
const PLACES = ["/usr/libexec/virtiofsd", "/usr/lib/qemu/virtiofsd"] as const;

export const VOLUME_CHECKS: readonly Check[] = [
  { name: "volumes", run: () => checkVolumes(PLACES) },
];

/** What serves machines their volumes; `places`: of the program of its own, then of QEMU's. */
export async function checkVolumes(
  places: readonly [own: string, qemus: string],
): Promise<Omit<Finding, "name">> {
  const [own, qemus] = places;
  if (await runs(own)) return { status: "warn", detail: `${own}; ${UNTESTED}` };
  if (await runs(qemus)) return { status: "ok", detail: qemus };
  return {
    status: "warn",
    detail: `machines with volumes that are directories are refused: no ${places.join(" or ")}`,
    fix: "apt-get install virtiofsd",
  };
}

function runs(path: string): Promise<boolean> {
  return access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
}
