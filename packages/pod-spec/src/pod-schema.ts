import * as v from "valibot";
import { Container, SHARED_SECURITY } from "./container-schema.ts";
import {
  address,
  dataKey,
  id,
  label,
  listOf,
  seconds,
  subdomain,
  text,
  textMap,
} from "./fields.ts";
import { Volume } from "./volume-schema.ts";

const metadata = v.strictObject({
  name: subdomain,
  namespace: v.optional(label, "default"),
  labels: textMap,
  annotations: textMap,
});

const PodSecurity = v.strictObject({
  ...SHARED_SECURITY,
  fsGroup: v.optional(id),
  fsGroupChangePolicy: v.optional(v.picklist(["Always", "OnRootMismatch"]), "Always"),
  supplementalGroups: listOf(id),
  sysctls: listOf(
    v.strictObject({
      name: v.pipe(v.string(), v.maxLength(253), v.regex(/^[a-z0-9]([-_./a-z0-9]*[a-z0-9])?$/)),
      value: text,
    }),
  ),
});

const hostname = v.pipe(v.string(), v.maxLength(253));

const PodSpec = v.strictObject({
  containers: v.pipe(v.array(Container), v.minLength(1, "a container is wanted"), v.maxLength(64)),
  initContainers: listOf(Container),
  volumes: listOf(Volume),
  restartPolicy: v.optional(v.picklist(["Always", "OnFailure", "Never"]), "Always"),
  terminationGracePeriodSeconds: v.optional(seconds, 30),
  runtimeClassName: v.optional(v.union([v.literal(""), subdomain]), ""),
  hostname: v.optional(label),
  subdomain: v.optional(label),
  hostNetwork: v.optional(v.boolean(), false),
  hostPID: v.optional(v.boolean(), false),
  hostIPC: v.optional(v.boolean(), false),
  shareProcessNamespace: v.optional(v.boolean(), false),
  dnsPolicy: v.optional(
    v.picklist(["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"]),
    "ClusterFirst",
  ),
  dnsConfig: v.optional(
    v.strictObject({
      nameservers: v.optional(v.pipe(v.array(address), v.maxLength(3)), []),
      searches: v.optional(v.pipe(v.array(hostname), v.maxLength(32)), []),
      options: listOf(
        v.strictObject({
          name: v.pipe(v.string(), v.regex(/^\S{1,64}$/)),
          value: v.optional(v.pipe(v.string(), v.regex(/^\S{0,64}$/))),
        }),
      ),
    }),
    {},
  ),
  hostAliases: listOf(v.strictObject({ ip: address, hostnames: listOf(subdomain) })),
  securityContext: v.optional(PodSecurity, {}),
  // What these say is so on a node without a cluster: no token, no services.
  automountServiceAccountToken: v.optional(
    v.literal(false, "only false: there are no tokens here"),
  ),
  enableServiceLinks: v.optional(v.literal(false, "only false: there are no services here")),
});

export const Pod = v.strictObject({
  apiVersion: v.literal("v1"),
  kind: v.literal("Pod"),
  metadata,
  spec: PodSpec,
});

const data = v.optional(
  v.pipe(
    v.record(dataKey, text),
    v.check((map) => Object.keys(map).length <= 1024, "too many entries"),
  ),
  {},
);
/** Base64 on many lines is as good. */
const binaryData = v.optional(
  v.pipe(
    v.record(
      dataKey,
      v.pipe(
        text,
        v.transform((given) => given.replaceAll(/\s/g, "")),
        v.check(
          (given) => /^[A-Za-z0-9+/]*={0,2}$/.test(given) && given.length % 4 === 0,
          "base64 is wanted",
        ),
      ),
    ),
    v.check((map) => Object.keys(map).length <= 1024, "too many entries"),
  ),
  {},
);
const immutable = v.optional(v.boolean(), false);

export const ConfigMap = v.strictObject({
  apiVersion: v.literal("v1"),
  kind: v.literal("ConfigMap"),
  metadata,
  immutable,
  data,
  binaryData,
});

export const Secret = v.strictObject({
  apiVersion: v.literal("v1"),
  kind: v.literal("Secret"),
  metadata,
  immutable,
  type: v.optional(v.pipe(v.string(), v.maxLength(253)), "Opaque"),
  data: binaryData,
  stringData: data,
});

export type Pod = v.InferOutput<typeof Pod>;
export type ConfigMap = v.InferOutput<typeof ConfigMap>;
export type Secret = v.InferOutput<typeof Secret>;
