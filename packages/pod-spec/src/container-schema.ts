import * as v from "valibot";
import {
  absolutePath,
  address,
  dataKey,
  id,
  innerPath,
  label,
  listOf,
  port,
  quantity,
  subdomain,
  text,
  variableName,
} from "./fields.ts";

const SeccompProfile = v.strictObject({
  type: v.picklist(["RuntimeDefault", "Unconfined", "Localhost"]),
  localhostProfile: v.optional(innerPath),
});

/** Fields of a security context that pods and containers share. */
export const SHARED_SECURITY = {
  runAsUser: v.optional(id),
  runAsGroup: v.optional(id),
  runAsNonRoot: v.optional(v.boolean()),
  seccompProfile: v.optional(SeccompProfile),
};

const capability = v.pipe(
  v.string(),
  v.regex(/^(ALL|(CAP_)?[A-Z_]{1,40})$/, "a capability such as NET_ADMIN is wanted"),
);

const ContainerSecurity = v.strictObject({
  ...SHARED_SECURITY,
  privileged: v.optional(v.boolean(), false),
  allowPrivilegeEscalation: v.optional(v.boolean()),
  readOnlyRootFilesystem: v.optional(v.boolean(), false),
  procMount: v.optional(v.picklist(["Default", "Unmasked"]), "Default"),
  capabilities: v.optional(
    v.strictObject({ add: listOf(capability), drop: listOf(capability) }),
    {},
  ),
});

const amounts = v.optional(
  v.strictObject({ cpu: v.optional(quantity), memory: v.optional(quantity) }),
  {},
);

const keyOf = { name: subdomain, key: dataKey, optional: v.optional(v.boolean(), false) };

export const FieldRef = v.strictObject({
  apiVersion: v.optional(v.literal("v1")),
  fieldPath: v.pipe(v.string(), v.maxLength(512)),
});

export const ResourceFieldRef = v.strictObject({
  containerName: v.optional(label),
  resource: v.picklist(["limits.cpu", "limits.memory", "requests.cpu", "requests.memory"]),
  divisor: v.optional(quantity),
});

const ValueFrom = v.pipe(
  v.strictObject({
    configMapKeyRef: v.optional(v.strictObject(keyOf)),
    secretKeyRef: v.optional(v.strictObject(keyOf)),
    fieldRef: v.optional(FieldRef),
    resourceFieldRef: v.optional(ResourceFieldRef),
  }),
  v.check((from) => Object.keys(from).length === 1, "exactly one source is wanted"),
);

const Variable = v.pipe(
  v.strictObject({
    name: variableName,
    value: v.optional(text),
    valueFrom: v.optional(ValueFrom),
  }),
  v.check(
    ({ value, valueFrom }) => valueFrom === undefined || (value ?? "") === "",
    "value and valueFrom exclude each other",
  ),
);

const source = v.strictObject({ name: subdomain, optional: v.optional(v.boolean(), false) });

const EnvFrom = v.pipe(
  v.strictObject({
    prefix: v.optional(v.pipe(v.string(), v.maxLength(1024)), ""),
    configMapRef: v.optional(source),
    secretRef: v.optional(source),
  }),
  v.check(
    ({ configMapRef, secretRef }) => (configMapRef === undefined) !== (secretRef === undefined),
    "exactly one of configMapRef and secretRef is wanted",
  ),
);

const Mount = v.pipe(
  v.strictObject({
    name: label,
    mountPath: absolutePath,
    readOnly: v.optional(v.boolean(), false),
    subPath: v.optional(innerPath),
    subPathExpr: v.optional(innerPath),
    mountPropagation: v.optional(v.picklist(["None", "HostToContainer", "Bidirectional"]), "None"),
  }),
  v.check(
    ({ subPath, subPathExpr }) => subPath === undefined || subPathExpr === undefined,
    "subPath and subPathExpr exclude each other",
  ),
);

const Port = v.strictObject({
  name: v.optional(label),
  containerPort: port,
  protocol: v.optional(v.picklist(["TCP", "UDP", "SCTP"]), "TCP"),
  hostPort: v.optional(port),
  hostIP: v.optional(address),
});

/** A container of a v1.Pod, as far as it is supported. */
export const Container = v.strictObject({
  name: label,
  image: v.pipe(v.string(), v.regex(/^\S{1,1024}$/, "an image's name is wanted")),
  imagePullPolicy: v.optional(v.picklist(["Always", "IfNotPresent", "Never"])),
  command: listOf(text),
  args: listOf(text),
  workingDir: v.optional(absolutePath),
  env: listOf(Variable),
  envFrom: listOf(EnvFrom),
  resources: v.optional(v.strictObject({ limits: amounts, requests: amounts }), {}),
  securityContext: v.optional(ContainerSecurity, {}),
  volumeMounts: listOf(Mount),
  ports: listOf(Port),
  stdin: v.optional(v.boolean(), false),
  stdinOnce: v.optional(v.boolean(), false),
  tty: v.optional(v.boolean(), false),
  restartPolicy: v.optional(v.literal("Always", "only Always, of an init container")),
});

export type Container = v.InferOutput<typeof Container>;
export type ContainerMount = v.InferOutput<typeof Mount>;
