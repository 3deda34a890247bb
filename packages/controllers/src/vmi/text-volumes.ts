import type { Volume } from "@trine/kube-types";
import { defined } from "./parts.ts";

/** Where Kubernetes itself mounts the token of a service account. */
const TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount";

/** The pod's volume of what the API holds as files; undefined where Kubernetes mounts it by itself, or it is none of them. */
export function textVolume(volume: Volume): Readonly<Record<string, unknown>> | undefined {
  const { configMap, secret, downwardAPI } = volume;
  if (configMap !== undefined) {
    const { name, optional } = configMap;
    return { configMap: { ...defined({ name, optional }) } };
  }
  if (secret !== undefined) {
    const { secretName, optional } = secret;
    return { secret: { ...defined({ secretName, optional }) } };
  }
  return downwardAPI === undefined
    ? undefined
    : { downwardAPI: { items: downwardAPI.fields ?? [] } };
}

/** By which label the guest finds a disk of them, and the field that says it; undefined: as disks of files are called. */
export function labelOf({
  configMap,
  secret,
  downwardAPI,
}: Volume): { readonly field: string; readonly label: string } | undefined {
  const said = Object.entries({ configMap, secret, downwardAPI }).flatMap(([kind, source]) =>
    source?.volumeLabel === undefined || source.volumeLabel === ""
      ? []
      : [{ field: `${kind}.volumeLabel`, label: source.volumeLabel }],
  );
  return said[0];
}

/** Where the machine's container has them, for a disk that is at `mountPath` otherwise. */
export function filesAt({ serviceAccount }: Volume, mountPath: string): string {
  return serviceAccount === undefined ? mountPath : TOKEN;
}
