import { GOOD_INSTANCE, INVALID, REQUIRED, type FaultRow } from "../objects.ts";

export const replicas = {
  apiVersion: "kubevirt.io/v1",
  kind: "VirtualMachineInstanceReplicaSet",
  spec: {
    selector: { matchLabels: { app: "a" } },
    template: { metadata: { labels: { app: "a" } }, spec: GOOD_INSTANCE.spec },
  },
};

export const REPLICAS_FAULTS: readonly FaultRow[] = [
  ["fewer than none", { replicas: -1 }, `replicas ${INVALID}`],
  [
    "labels that the template has not",
    { "selector.matchLabels": { app: "b" } },
    `selector ${INVALID}`,
  ],
  ["no selector", { selector: {} }, `selector ${REQUIRED}`],
  ["no template", { "template.spec": undefined }, `template.spec ${REQUIRED}`],
  ["a faulty template", { "template.spec.hostname": "A" }, `template.spec.hostname ${INVALID}`],
  [
    "an odd label of the template",
    { "template.metadata.labels.b": "c d" },
    `template.metadata.labels[b] ${INVALID}`,
  ],
];
