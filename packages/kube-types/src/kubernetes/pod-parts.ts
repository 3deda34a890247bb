import { type Infer, int32, list, needed, object, quantity, string } from "../schema/schema.ts";

const objectFieldSelector = object({ apiVersion: string(), fieldPath: needed(string()) });

const resourceFieldSelector = object({
  containerName: string(),
  resource: needed(string()),
  divisor: quantity(),
});

export const downwardAPIVolumeFile = object({
  path: needed(string()),
  fieldRef: objectFieldSelector,
  resourceFieldRef: resourceFieldSelector,
  mode: int32(),
});

const podDNSConfigOption = object({ name: string(), value: string() });

export const podDNSConfig = object({
  nameservers: list(string(), { merge: "atomic" }),
  searches: list(string(), { merge: "atomic" }),
  options: list(podDNSConfigOption, { merge: "atomic" }),
});
export type PodDNSConfig = Infer<typeof podDNSConfig>;
