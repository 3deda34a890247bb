import { hostname } from "node:os";
import type { Bundle } from "../bundle.ts";

/** Of Linux, less the one that DNS takes. */
const LONGEST = 63;

/**
 * The guest's host name, at most 63 bytes. A pod sandbox that names none has the node's, as under runc, and as
 * containerd writes it into the containers' /etc/hostname; a container without a pod has its own, made to fit.
 */
export function guestHostname(
  sandbox: Pick<Bundle, "hostname" | "isPodSandbox">,
  containerName: string,
): string {
  if (sandbox.hostname !== undefined) return sandbox.hostname;
  if (sandbox.isPodSandbox) return hostname();
  const fits = containerName.replaceAll(/[^A-Za-z0-9._-]/g, "-").slice(0, LONGEST);
  return fits.replaceAll(/^[._-]+|[._-]+$/g, "") || "container";
}
