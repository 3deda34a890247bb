import type { Node, Pod, Stored } from "@trine/kube-client";
import { MADE_WITH } from "./cpu-memory.ts";

/** What of a machine's pod decisions look at: where it is, how it is, what it asks for, what it was made with, and whose. The rest of its spec is what was rendered. */
export function keptPod({ apiVersion, kind, metadata, spec, status }: Stored<Pod>): Stored<Pod> {
  const { nodeName, overhead } = spec;
  const { annotations = {} } = metadata;
  const made = Object.fromEntries(
    Object.entries(annotations).filter(([name]) => MADE_WITH.includes(name)),
  );
  return {
    ...{ apiVersion, kind },
    metadata: { ...withoutWords(metadata), annotations: made },
    spec: {
      containers: spec.containers.map(({ name, resources }) => ({ name, resources })),
      ...(nodeName === undefined ? {} : { nodeName }),
      ...(overhead === undefined ? {} : { overhead }),
    },
    ...(status === undefined ? {} : { status }),
  };
}

/** Of a node its taints and addresses. Its status, with a list of its images, is long, and new every few minutes. */
export function keptNode({ apiVersion, kind, metadata, spec, status }: Stored<Node>): Stored<Node> {
  const { taints } = spec ?? {};
  const { addresses } = status ?? {};
  return {
    ...{ apiVersion, kind, metadata: withoutWords(metadata) },
    ...(taints === undefined ? {} : { spec: { taints } }),
    ...(addresses === undefined ? {} : { status: { addresses } }),
  };
}

function withoutWords(metadata: Stored["metadata"]): Stored["metadata"] {
  const kept = Object.entries(metadata).filter(
    ([name]) => name !== "annotations" && name !== "labels",
  );
  return Object.fromEntries(kept) as unknown as Stored["metadata"];
}
