import { createHash } from "node:crypto";
import type { Parts } from "./parts.ts";

/** Where the node finds a Secret: kubelet writes it there, and keeps it fresh. */
export function mountedSecret(secretName: string): Parts {
  const name = volumeName("secret", secretName);
  const mount = { name, mountPath: `/trine.dev/secret/${secretName}`, readOnly: true };
  return { volumes: [{ name, secret: { secretName } }], mounts: [mount] };
}

/** A volume's name is a label of 63 characters without dots, and two Secrets have two. */
export function volumeName(kind: string, of: string): string {
  return `trine-${kind}-${createHash("sha256").update(of).digest("hex").slice(0, 12)}`;
}
