import { type KubeObject, keyOf } from "@trine/kube-client";
import { INSTANCE_FINALIZER, MACHINE_FINALIZER, PART_OF } from "@trine/kube-types";

/** Of everything that is ours. */
export const OURS = `${PART_OF.label}=${PART_OF.value}`;

export function isOurs({ metadata }: KubeObject): boolean {
  return metadata?.labels?.[PART_OF.label] === PART_OF.value;
}

/** On what an install has applied: its namespace and name, so that a copy of it somewhere else is not taken for it. */
const INSTALLED = "trine.dev/installed";

/** The same object, saying that an install has made it. */
export function installed(object: KubeObject): KubeObject {
  return withAnnotation(object, INSTALLED, keyOf(object));
}

export function isInstalled(object: KubeObject): boolean {
  return object.metadata?.annotations?.[INSTALLED] === keyOf(object);
}

/** Of a namespace that was there before us: others' things are in it, so it is not ours to delete. */
const ADOPTED = "trine.dev/adopted";

export function isAdopted({ metadata }: KubeObject): boolean {
  return metadata?.annotations?.[ADOPTED] === "true";
}

/** The same object, saying that it was there before us. */
export function adopting(object: KubeObject): KubeObject {
  return withAnnotation(object, ADOPTED, "true");
}

function withAnnotation(object: KubeObject, name: string, value: string): KubeObject {
  const { metadata } = object;
  const annotations = { ...metadata?.annotations, [name]: value };
  return { ...object, metadata: { ...metadata, annotations } };
}

/**
 * Whether only the control plane takes this finalizer back: nobody does when it is gone. What others have put on objects is theirs
 * to take, and what Kubernetes' own collector has put there it takes itself.
 */
export function isOurFinalizer(name: string): boolean {
  // KubeVirt's own, of another installation, are on pods and claims too: of that domain only what we set is ours.
  if (name === INSTANCE_FINALIZER || name === MACHINE_FINALIZER) return true;
  const [domain = ""] = name.split("/");
  return domain === "trine.dev" || domain.endsWith(".trine.dev");
}
