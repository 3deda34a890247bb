// What a pod is given: volumes of every kind, users, environment. One pod, read by a script in it.
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { KubeCluster } from "@trine/testkit";
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  BUSYBOX,
  type KubeUnderTest,
  LEVELS,
  LONG_MS,
  SLEEP,
  container,
  podOf,
  pods,
} from "./kubelet-pods.ts";

const NAME = "volumes";

const VOLUMES = [
  { name: "config", configMap: { name: "settings", defaultMode: 0o640 } },
  { name: "secret", secret: { secretName: "keys", defaultMode: 0o400 } },
  {
    name: "projected",
    projected: {
      sources: [
        { configMap: { name: "settings", items: [{ key: "colour", path: "a/colour" }] } },
        { secret: { name: "keys", items: [{ key: "token", path: "b/token", mode: 0o444 }] } },
        {
          downwardAPI: { items: [{ path: "labels", fieldRef: { fieldPath: "metadata.labels" } }] },
        },
        { serviceAccountToken: { path: "sa", expirationSeconds: 600 } },
      ],
    },
  },
  { name: "memory", emptyDir: { medium: "Memory", sizeLimit: "4Mi" } },
  { name: "scratch", emptyDir: {} },
  { name: "claim", persistentVolumeClaim: { claimName: "data" } },
  { name: "image", image: { reference: BUSYBOX, pullPolicy: "Never" } },
];

const MOUNTS = [
  { name: "config", mountPath: "/v/config" },
  { name: "config", mountPath: "/v/colour", subPath: "colour" },
  { name: "secret", mountPath: "/v/secret", readOnly: true },
  { name: "projected", mountPath: "/v/projected" },
  { name: "memory", mountPath: "/v/memory" },
  { name: "scratch", mountPath: "/v/scratch" },
  { name: "scratch", mountPath: "/v/sub", subPathExpr: "of-$(POD_NAMESPACE)" },
  { name: "claim", mountPath: "/v/claim" },
  { name: "host", mountPath: "/v/host" },
  { name: "image", mountPath: "/v/image" },
];

const field = (name: string, fieldPath: string): object => ({
  name,
  valueFrom: { fieldRef: { fieldPath } },
});

const ENVIRONMENT = [
  field("POD_NAMESPACE", "metadata.namespace"),
  field("NODE", "spec.nodeName"),
  field("HOST_IP", "status.hostIP"),
  { name: "COLOUR", valueFrom: { configMapKeyRef: { name: "settings", key: "colour" } } },
  { name: "TOKEN", valueFrom: { secretKeyRef: { name: "keys", key: "token" } } },
  { name: "LIMIT", valueFrom: { resourceFieldRef: { resource: "limits.memory", divisor: "1Mi" } } },
  { name: "BOTH", value: "$(COLOUR)-$(NODE)" },
];

/** Prints what the container sees; nothing in it differs from pod to pod. */
const LOOK = `
id; umask
env | grep -E '^(POD_NAMESPACE|NODE|HOST_IP|COLOUR|TOKEN|LIMIT|BOTH)=' | sort
for f in /v/config/colour /v/colour /v/secret/token /v/projected/a/colour /v/projected/b/token /v/host/hello /v/image/etc/passwd; do
  echo "$f $(stat -L -c '%u:%g %a' $f)"; cat $f; echo
done
stat -L -c '%n %u:%g %a' /v/memory /v/scratch /v/sub /v/claim /v/host
test -s /v/projected/sa && echo has a token
echo mine > /v/scratch/f; echo mine > /v/sub/f; stat -c '%n %u:%g' /v/scratch/f /v/sub/f
cat /v/scratch/of-default/f
touch /v/secret/no 2>&1; touch /v/image/no 2>&1; touch /no 2>&1
stat -f -c '%b %S' /v/memory
head -c 6000000 /dev/zero 2>/dev/null > /v/memory/big || echo full
grep -E 'CapEff|NoNewPrivs' /proc/self/status
cat /dev/termination-log; ls -l /v/claim | wc -l
`;

async function volumeObjects(cluster: KubeCluster): Promise<object[]> {
  const host = join(cluster.node.dir, "host");
  const data = join(cluster.node.dir, "data");
  await mkdir(data, { mode: 0o777 });
  await mkdir(host);
  await writeFile(join(host, "hello"), "from the node\n");
  const spec = {
    securityContext: {
      runAsUser: 1000,
      runAsGroup: 2000,
      fsGroup: 3000,
      supplementalGroups: [4000],
    },
    initContainers: [
      container("first", { command: ["sh", "-c", "echo first > /v/scratch/order"], ...scratch() }),
      container("sidecar", {
        restartPolicy: "Always",
        command: ["sh", "-c", "echo sidecar >> /v/scratch/order; exec sleep 100000"],
        ...scratch(),
      }),
    ],
    containers: [
      container("main", {
        command: ["sh", "-c", "echo main >> /v/scratch/order; exec sleep 100000"],
        env: ENVIRONMENT,
        resources: {
          limits: { memory: "64Mi", cpu: "1" },
          requests: { memory: "16Mi", cpu: "10m" },
        },
        securityContext: {
          readOnlyRootFilesystem: true,
          allowPrivilegeEscalation: false,
          capabilities: { drop: ["ALL"] },
          seccompProfile: { type: "RuntimeDefault" },
        },
        volumeMounts: MOUNTS,
      }),
      container("other", { command: SLEEP, ...scratch() }),
    ],
    volumes: [...VOLUMES, { name: "host", hostPath: { path: host, type: "Directory" } }],
  };
  return [
    {
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { name: "settings" },
      data: { colour: "green" },
    },
    { apiVersion: "v1", kind: "Secret", metadata: { name: "keys" }, stringData: { token: "hush" } },
    ...localVolume(data, cluster.nodeName),
    ...pods(NAME, spec),
  ];
}

const scratch = (): object => ({
  volumeMounts: [{ name: "scratch", mountPath: "/v/scratch" }],
});

/** A static volume of a directory of the node, and the claim that takes it. */
function localVolume(path: string, node: string): object[] {
  const nodeAffinity = {
    required: {
      nodeSelectorTerms: [
        { matchExpressions: [{ key: "kubernetes.io/hostname", operator: "In", values: [node] }] },
      ],
    },
  };
  const claim = {
    storageClassName: "",
    accessModes: ["ReadWriteOnce"],
  };
  return [
    {
      apiVersion: "v1",
      kind: "PersistentVolume",
      metadata: { name: "data" },
      spec: { ...claim, capacity: { storage: "1Gi" }, local: { path }, nodeAffinity },
    },
    {
      apiVersion: "v1",
      kind: "PersistentVolumeClaim",
      metadata: { name: "data" },
      spec: { ...claim, volumeName: "data", resources: { requests: { storage: "1Gi" } } },
    },
  ];
}

export function volumeTests(kube: () => KubeUnderTest): void {
  beforeAll(async () => {
    await kube().kubectl.apply(...(await volumeObjects(kube().cluster)));
  }, LONG_MS);

  afterAll(async () => {
    await kube().remove(...LEVELS.map((level) => podOf(NAME, level)));
  }, LONG_MS);

  test("volumes of every kind, users, rights and environment are as under runc", async () => {
    const seen = await kube().both(NAME, async (pod) => {
      await kube().ready(pod);
      return kube().sh(pod, "main", LOOK);
    });
    expect(seen.runc).toContain("COLOUR=green");
    expect(seen.runc).toContain("full");
    expect(seen.microvm).toBe(seen.runc);
  });

  test("init container, sidecar and containers begin in order and share volumes", async () => {
    const seen = await kube().both(NAME, async (pod) => {
      await kube().ready(pod);
      return kube().sh(pod, "other", "cat /v/scratch/order");
    });
    expect(seen.runc).toBe("first\nsidecar\nmain\n");
    expect(seen.microvm).toBe(seen.runc);
  });

  test("ConfigMap, Secret and projected volumes change under a running pod; a subPath does not", async () => {
    await kube().both(NAME, (pod) => kube().ready(pod));
    const change = async (kind: string, name: string, change: object): Promise<void> => {
      await kube().kubectl.run("patch", kind, name, "--patch", JSON.stringify(change));
    };
    await change("configmap", "settings", { data: { colour: "blue" } });
    await change("secret", "keys", { stringData: { token: "louder" } });
    const seen = await kube().both(NAME, async (pod) => {
      await kube().untilSh(pod, "main", "cat /v/config/colour /v/projected/a/colour", "blueblue");
      await kube().untilSh(pod, "main", "cat /v/secret/token /v/projected/b/token", "louderlouder");
      return kube().sh(pod, "main", "cat /v/colour; echo; echo $COLOUR");
    });
    expect(seen.runc).toBe("green\ngreen\n");
    expect(seen.microvm).toBe(seen.runc);
  });
}
