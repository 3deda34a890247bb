import { expect, test } from "vitest";
import type { PodContext } from "../pod-context.ts";
import { reviveRequest } from "./revive-request.ts";

const NOW = new Date("2026-11-21T12:00:00.250Z");

/** Two pods of one name, as one and its successor are: only their ids tell them apart. */
function pod(sandboxId: string): PodContext {
  const identity = {
    namespace: "k8s.io",
    sandboxId,
    name: "web",
    podNamespace: "default",
    uid: "",
  };
  const context = {
    key: `k8s.io/${sandboxId}`,
    identity,
    sandbox: { spec: {}, annotations: {}, hostname: "web", isPodSandbox: true },
    document: { version: 1, execs: {} },
    deps: { now: () => NOW },
  };
  return context as unknown as PodContext;
}

test("two guests get random numbers and a machine id each, and the time", () => {
  const requests = ["one", "other", "one"].map((id) => reviveRequest(pod(id)));
  const [first, second, again] = requests;
  for (const request of requests) {
    expect(request.entropy).toHaveLength(64);
    expect(request.hostname).toBe("web");
    expect(request.time).toMatchObject({ seconds: BigInt(Math.floor(NOW.getTime() / 1000)) });
  }
  const random = requests.map(({ entropy }) => Buffer.from(entropy ?? []).toString("hex"));
  expect(new Set(random).size).toBe(3);
  expect(first?.machineId).not.toBe(second?.machineId);
  expect(again?.machineId).toBe(first?.machineId); // repeated for the same pod
});
