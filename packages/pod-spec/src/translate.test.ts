import { NamespaceMode } from "@trine/proto/cri/api";
import { stringify } from "yaml";
import { expect, test } from "vitest";
import { environmentOf } from "./environment.ts";
import type { Scope } from "./environment.ts";
import { expand } from "./expand.ts";
import { parseManifest } from "./parse-manifest.ts";
import { linuxResources, qosOf } from "./resources.ts";
import { containerConfig } from "./translate-container.ts";
import { hostsFile, sandboxConfig } from "./translate-sandbox.ts";
import { defaultPullPolicy, planVolume } from "./volume-plan.ts";

const GIB = 1024 ** 3;
const resolver = { servers: ["10.0.0.2"], searches: ["node.test"], options: ["ndots:1"] };
const node = { name: "n1", ip: "192.0.2.1", cpus: 4, memoryBytes: 8 * GIB, resolver };
const instance = { uid: "u1", attempt: 2, logDirectory: "/logs", cgroupParent: "" };
const SOURCES = [
  { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "c" }, data: { k: "v", l: "w" } },
  { apiVersion: "v1", kind: "Secret", metadata: { name: "s" }, data: { t: "aGk=" } },
];

function scopeOf(spec: object, container: object = {}, more: object[] = []): Scope {
  const main = { name: "main", image: "i:1", ...container };
  const pod = {
    ...{ apiVersion: "v1", kind: "Pod", metadata: { name: "web", labels: { a: "b" } } },
    spec: { containers: [main, ...more], ...spec },
  };
  const { pods, sources } = parseManifest(
    [pod, ...SOURCES].map((each) => stringify(each)).join("---\n"),
    "f",
  );
  const [first] = pods;
  if (first === undefined) throw new Error("no pod");
  return { pod: first, sources, facts: { node, uid: "u1", ips: ["10.1.2.3", "fd00::3"] } };
}

function mainOf({ pod }: Scope): Scope["pod"]["spec"]["containers"][number] {
  const [container] = pod.spec.containers;
  if (container === undefined) throw new Error("no container");
  return container;
}

function configOf(scope: Scope, image = {}): ReturnType<typeof containerConfig> {
  const ref = { ref: "sha256:1", ...image };
  return containerConfig(mainOf(scope), scope, { attempt: 1, mounts: [], image: ref });
}

test("expands as Kubernetes does: known names, unknown as they are, $$ escapes", () => {
  const lookup = (name: string): string | undefined => (name === "A" ? "1" : undefined);
  expect(expand("$(A) $(B) $$(A) $A $ $(", lookup)).toBe("1 $(B) $(A) $A $ $(");
});

test("resources are kubelet's: shares, quota, memory, the order of killing", () => {
  const of = (resources: object): object => {
    const scope = scopeOf({}, { resources });
    return linuxResources(scope.pod, mainOf(scope), node.memoryBytes);
  };
  expect(of({})).toMatchObject({ cpuShares: 2n, cpuQuota: 0n, oomScoreAdj: 1000n });
  expect(of({ limits: { cpu: "500m", memory: "1Gi" } })).toEqual({
    ...{ cpuShares: 512n, cpuQuota: 50_000n, cpuPeriod: 100_000n },
    ...{ memoryLimitInBytes: BigInt(GIB), oomScoreAdj: -997n },
  });
  expect(of({ requests: { memory: "2Gi" } })).toMatchObject({ oomScoreAdj: 750n });
  expect(of({ limits: { cpu: "1m" } })).toMatchObject({ cpuShares: 2n, cpuQuota: 1000n });
  expect(qosOf(scopeOf({}, { resources: { requests: { cpu: "1" } } }).pod)).toBe("Burstable");
});

test("variables: envFrom, sources, fields, resources; later ones win and see earlier ones", () => {
  const env = [
    { name: "K", valueFrom: { configMapKeyRef: { name: "c", key: "k" } } },
    { name: "T", valueFrom: { secretKeyRef: { name: "s", key: "t" } } },
    { name: "NO", valueFrom: { secretKeyRef: { name: "none", key: "t", optional: true } } },
    { name: "IPS", valueFrom: { fieldRef: { fieldPath: "status.podIPs" } } },
    { name: "L", valueFrom: { fieldRef: { fieldPath: "metadata.labels['a']" } } },
    { name: "CPU", valueFrom: { resourceFieldRef: { resource: "limits.cpu" } } },
    { name: "MEM", valueFrom: { resourceFieldRef: { resource: "limits.memory", divisor: "1Mi" } } },
    { name: "ALL", value: "$(P_l)-$(K)-$(LATER)" },
    { name: "LATER", value: "x" },
  ];
  const envFrom = [{ prefix: "P_", configMapRef: { name: "c" } }];
  const scope = scopeOf({}, { env, envFrom, resources: { limits: { memory: "64Mi" } } });
  expect(Object.fromEntries(environmentOf(mainOf(scope), scope))).toEqual({
    ...{ P_k: "v", P_l: "w", K: "v", T: "hi", IPS: "10.1.2.3,fd00::3", L: "b" },
    ...{ CPU: "4", MEM: "64", ALL: "w-v-$(LATER)", LATER: "x" },
  });
  for (const valueFrom of [
    { configMapKeyRef: { name: "none", key: "k" } },
    { configMapKeyRef: { name: "c", key: "none" } },
  ]) {
    const missing = scopeOf({}, { env: [{ name: "A", valueFrom }] });
    expect(() => environmentOf(mainOf(missing), missing)).toThrow(/none/);
  }
  const bad = scopeOf(
    {},
    { env: [{ name: "A", valueFrom: { fieldRef: { fieldPath: "spec.x" } } }] },
  );
  expect(() => environmentOf(mainOf(bad), bad)).toThrow(/not in the downward API/);
});

test("the sandbox: names, DNS, ports, namespaces", () => {
  const scope = scopeOf(
    {
      dnsConfig: { nameservers: ["10.0.0.3"], options: [{ name: "ndots", value: "5" }] },
      shareProcessNamespace: true,
      securityContext: { sysctls: [{ name: "net/ipv4/ip_forward", value: "1" }], fsGroup: 9 },
    },
    { ports: [{ containerPort: 80, hostPort: 8080, hostIP: "127.0.0.1" }, { containerPort: 81 }] },
  );
  expect(sandboxConfig(scope.pod, node, instance)).toMatchObject({
    metadata: { name: "web", namespace: "default", uid: "u1", attempt: 2 },
    hostname: "web",
    dnsConfig: { servers: ["10.0.0.2", "10.0.0.3"], searches: ["node.test"], options: ["ndots:5"] },
    portMappings: [{ containerPort: 80, hostPort: 8080, hostIp: "127.0.0.1" }],
    labels: { a: "b", "io.kubernetes.pod.uid": "u1" },
    linux: {
      sysctls: { "net.ipv4.ip_forward": "1" },
      securityContext: {
        namespaceOptions: { pid: NamespaceMode.POD },
        supplementalGroups: [9n],
      },
    },
  });
  const { pod } = scopeOf({ hostAliases: [{ ip: "10.9.8.7", hostnames: ["a.test", "b.test"] }] });
  expect(hostsFile(pod, ["10.1.2.3"])).toMatch(
    /\n10\.1\.2\.3\tweb\n10\.9\.8\.7\ta\.test\tb\.test\n$/,
  );
});

test("security contexts: the container's before the pod's, the image's user, defaults of kubelet", () => {
  const security = (pod: object, own: object, image = {}): unknown =>
    configOf(scopeOf({ securityContext: pod }, { securityContext: own }), image).linux
      ?.securityContext;
  expect(security({ runAsUser: 5, runAsGroup: 6 }, { runAsUser: 7 })).toMatchObject({
    ...{ runAsUser: { value: 7n }, runAsGroup: { value: 6n }, noNewPrivs: false },
    maskedPaths: expect.arrayContaining(["/proc/kcore"]) as string[],
  });
  expect(
    security({}, { procMount: "Unmasked", capabilities: { add: ["CAP_CHOWN"] } }),
  ).toMatchObject({
    ...{ maskedPaths: [], capabilities: { addCapabilities: ["CHOWN"] } },
  });
  expect(security({}, {}, { username: "www" })).toMatchObject({ runAsUsername: "www" });
  expect(() => security({ runAsNonRoot: true }, {})).toThrow(/would run as root/);
  expect(() => security({ runAsNonRoot: true }, {}, { username: "www" })).toThrow(/may be root/);
  expect(security({ runAsNonRoot: true }, { runAsUser: 1 })).toMatchObject({
    runAsUser: { value: 1n },
  });
});

test("a machine without a command has one all the same", () => {
  expect(configOf(scopeOf({ runtimeClassName: "trine-vm" })).command).toEqual(["machine"]);
  expect(configOf(scopeOf({})).command).toEqual([]);
});

test("volumes: files by key and by item, projected ones merged, claims by flag", () => {
  const plan = (volume: object, claims = {}): unknown => {
    const scope = scopeOf({ volumes: [{ name: "v", ...volume }] });
    const [first] = scope.pod.spec.volumes;
    return first && planVolume(first, scope, claims);
  };
  const files = [
    { path: "k", mode: 0o644, data: Buffer.from("v") },
    { path: "l", mode: 0o644, data: Buffer.from("w") },
  ];
  expect(plan({ configMap: { name: "c" } })).toEqual({ kind: "files", files });
  const items = [{ key: "t", path: "d/e", mode: 0o400 }];
  expect(plan({ secret: { secretName: "s", items } })).toMatchObject({
    files: [{ path: "d/e", mode: 0o400, data: Buffer.from("hi") }],
  });
  const both = {
    sources: [
      { configMap: { name: "c" } },
      { secret: { name: "s", items: [{ key: "t", path: "k" }] } },
    ],
  };
  expect(plan({ projected: both })).toMatchObject({
    files: [{ path: "k", data: Buffer.from("hi") }, { path: "l" }],
  });
  expect(plan({ emptyDir: { medium: "Memory", sizeLimit: "1Mi" } })).toEqual({
    kind: "tmpfs",
    sizeBytes: 1048576n,
  });
  const claim = { persistentVolumeClaim: { claimName: "data" } };
  expect(plan(claim, { data: "/srv" })).toMatchObject({ kind: "claim", path: "/srv" });
  expect(() => plan(claim)).toThrow(/--pvc data=/);
  expect(() => plan({ configMap: { name: "none" } })).toThrow(/no ConfigMap default\/none/);
  expect(plan({ configMap: { name: "none", optional: true } })).toEqual({
    kind: "files",
    files: [],
  });
});

test.each([
  ["a", "Always"],
  ["a:latest", "Always"],
  ["r:5000/a", "Always"],
  ["a:1", "IfNotPresent"],
  ["a@sha256:0", "IfNotPresent"],
])("pull policy of %s is %s", (image, policy) => {
  expect(defaultPullPolicy(image)).toBe(policy);
});
