import type { Node, Pod, Stored } from "@trine/kube-client";
import { expect, test } from "vitest";
import { keptNode, keptPod } from "./kept.ts";

const METADATA = {
  namespace: "ns",
  name: "p",
  uid: "u",
  resourceVersion: "7",
  deletionTimestamp: "2026-11-22T00:00:00Z",
  deletionGracePeriodSeconds: 30,
  ownerReferences: [{ apiVersion: "v1", kind: "K", name: "o", uid: "ou", controller: true }],
};

test("of a pod its place, its state, its requests, what it was made with and its owner are kept", () => {
  const made = { "trine.dev/cpu-topology": "{}", "trine.dev/memory": "1Gi" };
  const resources = { requests: { cpu: "100m" } };
  const status = { phase: "Running", podIPs: [{ ip: "10.1.0.1" }], conditions: [] };
  const pod: Stored<Pod> = {
    ...{ apiVersion: "v1", kind: "Pod", status },
    metadata: {
      ...METADATA,
      labels: { app: "x" },
      annotations: { "trine.dev/machine": "a", ...made },
    },
    spec: {
      nodeName: "n1",
      overhead: { memory: "96Mi" },
      containers: [{ name: "compute", image: "long", resources }],
      volumes: [{ name: "root" }],
    },
  };
  expect(keptPod(pod)).toEqual({
    ...{ apiVersion: "v1", kind: "Pod", status },
    metadata: { ...METADATA, annotations: made },
    spec: {
      ...{ nodeName: "n1", overhead: { memory: "96Mi" } },
      containers: [{ name: "compute", resources }],
    },
  });
});

test("of a node its taints and addresses are kept", () => {
  const taints = [{ key: "node.kubernetes.io/out-of-service", effect: "NoExecute" }];
  const addresses = [{ type: "InternalIP", address: "10.0.0.1" }];
  const node: Stored<Node> = {
    ...{ apiVersion: "v1", kind: "Node", spec: { taints, unschedulable: true } },
    metadata: { name: "n1", uid: "u", resourceVersion: "7", labels: { zone: "a" } },
    status: { addresses, conditions: [], capacity: { cpu: "2" } },
  };
  expect(keptNode(node)).toEqual({
    ...{ apiVersion: "v1", kind: "Node", spec: { taints }, status: { addresses } },
    metadata: { name: "n1", uid: "u", resourceVersion: "7" },
  });
});
