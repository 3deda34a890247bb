import { NODES, PODS, type Stored, type Pod } from "@trine/kube-client";
import { MemoryKube } from "@trine/kube-client/testing";
import type { DoorEvent, NodeDoor } from "@trine/node-door";
import { TrineError, pollUntil } from "@trine/base";
import { expect, test } from "vitest";
import { report } from "../testing.ts";
import { NodeMachines } from "./machines.ts";
import { instanceCaches } from "./reconcile-vmi.ts";

/** A node's door: what is put into it the watch tells, until it is closed. */
class Door implements Pick<NodeDoor, "watch" | "close"> {
  isClosed = false;
  #waiting: DoorEvent[] = [];
  #wake: () => void = () => undefined;

  tell(...events: DoorEvent[]): void {
    this.#waiting.push(...events);
    this.#wake();
  }

  async *watch(signal: AbortSignal): AsyncGenerator<DoorEvent> {
    signal.addEventListener("abort", () => {
      this.#wake();
    });
    while (!signal.aborted) {
      yield* this.#waiting.splice(0);
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        if (signal.aborted || this.#waiting.length > 0) resolve();
      });
    }
  }

  close(): void {
    this.isClosed = true;
  }
}

const REF = { namespace: "shop", pod: "pod", uid: "pod-uid" };
const NOW = new Date("2026-01-02T03:04:05Z");

async function cluster() {
  const kube = new MemoryKube();
  await kube.create(NODES, { metadata: { name: "n1" }, status: {} });
  await setAddress(kube, "10.0.0.1");
  const labels = { "kubevirt.io": "virt-launcher" };
  const metadata = { name: "pod", namespace: "shop", labels };
  const pod: Stored<Pod> = await kube.create(PODS, {
    metadata,
    spec: { containers: [], nodeName: "n1" },
  });
  const { pods, nodes } = instanceCaches(kube.cache.bind(kube));
  const doors: Door[] = [];
  const hosts: string[] = [];
  const changed: string[] = [];
  const heard: string[] = [];
  const machines = new NodeMachines({
    ...{ pods, nodes, now: () => NOW },
    open: ({ host }) => {
      hosts.push(host);
      const door = new Door();
      doors.push(door);
      return door as unknown as NodeDoor;
    },
    onDoor: (node, what) => void heard.push(`${node} ${what === "heard" ? what : what.kind}`),
    onChange: (key) => void changed.push(key),
  });
  const until = (holds: () => boolean): Promise<true> =>
    pollUntil("the watch", { ms: 30_000, everyMs: 5 }, () => (holds() ? true : undefined));
  return { kube, pod, machines, doors, hosts, changed, heard, until };
}

async function setAddress(kube: MemoryKube, address: string): Promise<void> {
  const node = await kube.get(NODES, { name: "n1" });
  const status = { addresses: [{ type: "InternalIP", address }] };
  await kube.update(NODES, { ...node, status }, { subresource: "status" });
}

test("a node's door is opened when its machines are asked about, and is lost until it says something", async () => {
  const { machines, doors, until, heard, changed } = await cluster();
  expect(doors).toHaveLength(0);
  expect(machines.heard("n1", REF)).toEqual({ node: "lost", since: NOW });
  doors[0]?.tell({ type: "state", items: [report()] });
  await until(() => heard.length > 0);
  expect(machines.heard("n1", REF)).toEqual({ node: "heard", report: report() });
  expect(changed).toContain("shop/pod");
  await machines.close();
  expect(doors[0]?.isClosed).toBe(true);
});

test("a report counts for the pod of its uid only", async () => {
  const { machines, doors, until, heard } = await cluster();
  machines.heard("n1", REF);
  doors[0]?.tell({ type: "state", items: [report({ uid: "another" })] });
  await until(() => heard.length > 0);
  expect(machines.heard("n1", REF)).toEqual({ node: "heard" });
  await machines.close();
});

test("changes are told, and what is gone is known no more", async () => {
  const { machines, doors, until, changed } = await cluster();
  machines.heard("n1", REF);
  doors[0]?.tell(
    { type: "state", items: [] },
    { type: "machine", object: report({ phase: "paused" }) },
  );
  await until(() => changed.length > 1);
  expect(machines.heard("n1", REF).report?.phase).toBe("paused");
  const before = changed.length;
  doors[0]?.tell({ type: "gone", ...REF });
  await until(() => changed.length > before);
  expect(machines.heard("n1", REF)).toEqual({ node: "heard" });
  await machines.close();
});

test("a node that is lost keeps its last word, and since when it is silent", async () => {
  const { machines, doors, until, heard } = await cluster();
  machines.heard("n1", REF);
  const why = new TrineError("unavailable", "away");
  doors[0]?.tell({ type: "state", items: [report()] }, { type: "lost", why });
  await until(() => heard.length > 1);
  expect(machines.heard("n1", REF)).toEqual({ node: "lost", since: NOW, report: report() });
  expect(heard).toEqual(["n1 heard", "n1 unavailable"]);
  await machines.close();
});

test("a node with another address has another door", async () => {
  const { kube, machines, hosts, doors, until } = await cluster();
  machines.heard("n1", REF);
  await setAddress(kube, "10.0.0.2");
  await until(() => doors[0]?.isClosed === true);
  machines.heard("n1", REF);
  expect(hosts).toEqual(["10.0.0.1", "10.0.0.2"]);
  await machines.close();
});

test("a node whose last pod is gone is not asked any more", async () => {
  const { kube, pod, machines, doors, until } = await cluster();
  machines.heard("n1", REF);
  const { name, namespace = "" } = pod.metadata;
  await kube.delete(PODS, { name, namespace }, { gracePeriodSeconds: 0 });
  await until(() => doors[0]?.isClosed === true);
  await machines.close();
});

test("a node without an address is not heard, and no door is opened", async () => {
  const { machines, doors } = await cluster();
  expect(machines.heard("n2", REF)).toEqual({ node: "lost", since: NOW });
  expect(doors).toEqual([]);
  await machines.close();
});
