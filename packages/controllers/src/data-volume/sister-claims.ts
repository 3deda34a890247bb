import type { Cache, PersistentVolumeClaim, Pod, Stored } from "@trine/kube-client";
import type { ControlDeps } from "../controller.ts";
import { claimOf } from "../vmi/disks.ts";
import { fillerName } from "./filler-pod.ts";
import {
  type Placement,
  type Sisters,
  type Volume,
  isBound,
  isFilled,
  isLeaving,
  isOwn,
} from "./seen.ts";
import { waitingClasses } from "./storage.ts";

interface SisterDeps extends Pick<ControlDeps, "api"> {
  readonly caches: Pick<ControlDeps["caches"], "dataVolumes" | "claims"> & {
    readonly fillers: Cache<Pod>;
  };
}

/** As a volume's status says that something stands against its pod. */
const HELD_UP: readonly string[] = ["SourceInUse", "TargetInUse"];
const OVER: readonly string[] = ["Succeeded", "Failed"];

/**
 * The other claims of the machine that is to have a volume first. One pod binds them all, as the machine's own would, or some would
 * be of one node and some of another: it names them, and the pods of the others wait until they are bound.
 */
export async function sisterClaims(
  { api, caches }: SisterDeps,
  { metadata: { namespace = "default", name: own } }: Volume,
  { volumes = [] }: Placement,
  signal: AbortSignal,
): Promise<Sisters> {
  const names = [...new Set(volumes.flatMap((each) => claimOf(each)?.claimName ?? []))];
  if (names.length < 2) return { claims: [], isBehind: false, isRoomHeld: false };
  const classes = await waitingClasses(api, signal);
  const place = names.indexOf(own);
  const sisters = names.flatMap((name, index) => {
    const claim = caches.claims.get(`${namespace}/${name}`);
    if (name === own || claim === undefined || isLeaving(claim)) return [];
    const isFree = !isBound(claim);
    // What the cluster binds by itself is not waited for by a pod that need not.
    if (isFree && !classes.has(claim.spec.storageClassName ?? "")) return [];
    const volume = caches.dataVolumes.get(`${namespace}/${name}`);
    const pod = volume && caches.fillers.get(`${namespace}/${fillerName(volume)}`);
    const isFirst = index < place && volume !== undefined && isToBeFilled(volume, claim);
    return [{ name, isFree, isFirst, isFilling: isAtWork(pod) }];
  });
  return {
    claims: sisters.map(({ name }) => name),
    isBehind: sisters.some(({ isFree, isFirst, isFilling }) => isFree && (isFirst || isFilling)),
    isRoomHeld: sisters.some(({ isFilling }) => isFilling),
  };
}

/** Whether its pod comes now. One that cannot come holds up no other. */
function isToBeFilled(volume: Volume, claim: Stored<PersistentVolumeClaim>): boolean {
  const { phase = "", conditions = [] } = volume.status ?? {};
  if (isLeaving(volume) || OVER.includes(phase) || !isOwn(claim, volume) || isFilled(claim)) {
    return false;
  }
  const running = conditions.find(({ type }) => type === "Running");
  return !HELD_UP.includes(running?.reason ?? "");
}

function isAtWork(pod: Stored<Pod> | undefined): boolean {
  return pod !== undefined && !OVER.includes(pod.status?.phase ?? "");
}
