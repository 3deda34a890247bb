import { parseQuantity } from "@trine/annotations";
import { TrineError, quote } from "@trine/base";
import type { Container } from "./container-schema.ts";
import { scaled } from "./cross-checks.ts";
import type { PodFacts } from "./facts.ts";
import type { Pod } from "./pod-schema.ts";
import { amountsOf } from "./resources.ts";

/** Value of a fieldRef; kind `invalid` for a path that is not in the downward API. */
export function fieldValue(pod: Pod, fieldPath: string, facts: PodFacts): string {
  const { metadata, spec } = pod;
  const keyed = /^metadata\.(labels|annotations)\['([^']*)'\]$/.exec(fieldPath);
  if (keyed !== null) {
    const map = keyed[1] === "labels" ? metadata.labels : metadata.annotations;
    return map[keyed[2] ?? ""] ?? "";
  }
  const values: Readonly<Record<string, () => string>> = {
    "metadata.name": () => metadata.name,
    "metadata.namespace": () => metadata.namespace,
    "metadata.uid": () => facts.uid,
    "metadata.labels": () => lines(metadata.labels),
    "metadata.annotations": () => lines(metadata.annotations),
    "spec.nodeName": () => facts.node.name,
    "spec.restartPolicy": () => spec.restartPolicy,
    "spec.serviceAccountName": () => "",
    "status.hostIP": () => facts.node.ip,
    "status.hostIPs": () => facts.node.ip,
    "status.podIP": () => facts.ips[0] ?? "",
    "status.podIPs": () => facts.ips.join(","),
  };
  const value = Object.hasOwn(values, fieldPath) ? values[fieldPath] : undefined;
  if (value === undefined) {
    throw new TrineError("invalid", `fieldPath ${quote(fieldPath)} is not in the downward API`);
  }
  return value();
}

/** `key="value"` a line, as kubelet writes labels into a file. */
function lines(map: Readonly<Record<string, string>>): string {
  return Object.entries(map)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => `${key}=${JSON.stringify(value)}`)
    .join("\n");
}

interface ResourceRef {
  readonly containerName?: string | undefined;
  readonly resource: string;
  readonly divisor?: string | undefined;
}

/** Value of a resourceFieldRef, rounded up; a missing limit is what the node has. */
export function resourceValue(
  pod: Pod,
  own: Container | undefined,
  ref: ResourceRef,
  facts: PodFacts,
): string {
  const container =
    ref.containerName === undefined
      ? own
      : [...pod.spec.initContainers, ...pod.spec.containers].find(
          ({ name }) => name === ref.containerName,
        );
  if (container === undefined) {
    const which = ref.containerName ?? "(containerName is missing)";
    throw new TrineError("invalid", `resourceFieldRef: no container ${which} in the pod`);
  }
  const amounts = amountsOf(container);
  const [what, name] = ref.resource.split(".");
  if (name === "cpu") {
    const node = BigInt(facts.node.cpus) * 1000n;
    const milli = what === "limits" ? amounts.cpuLimitMilli || node : amounts.cpuRequestMilli;
    return String(upTo(milli, scaled(orOne(ref.divisor))));
  }
  const node = BigInt(facts.node.memoryBytes);
  const bytes = what === "limits" ? amounts.memoryLimit || node : amounts.memoryRequest;
  return String(upTo(bytes, parseQuantity(orOne(ref.divisor)) ?? 1n));
}

function orOne(divisor: string | undefined): string {
  return divisor === undefined || divisor === "0" ? "1" : divisor;
}

function upTo(value: bigint, divisor: bigint): bigint {
  const by = divisor > 0n ? divisor : 1n;
  return (value + by - 1n) / by;
}
