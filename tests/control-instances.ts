// VirtualMachineInstances on the real API server: the test says what scheduler and kubelet would, and a real TLS server what trined would.
import { readFile } from "node:fs/promises";
import { createServer } from "node:https";
import type { ServerResponse } from "node:http";
import type { Server } from "node:https";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { kindOf, pollUntil } from "@trine/base";
import {
  NodeMachines,
  controlCaches,
  instanceCaches,
  instanceController,
} from "@trine/controllers";
import { ListWatchCache, NODES, PODS, type Pod, type Stored, resourceOf } from "@trine/kube-client";
import { VIRTUAL_MACHINE_INSTANCE, type VirtualMachineInstance } from "@trine/kube-types";
import { type DoorCredentials, type MachineReport, openDoor } from "@trine/node-door";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { ControlUnderTest } from "./control-under-test.ts";

const NAMESPACE = "instances";
const NODE = "node-of-instances";
const INSTANCES = resourceOf(VIRTUAL_MACHINE_INSTANCE);
const RUNTIME_CLASSES = join(import.meta.dirname, "../deploy/kubernetes/runtimeclasses.yaml");
const LONG_MS = 60_000;

/** A node's door with the machines that the test puts there. */
class TestDoor {
  readonly #server: Server;
  readonly #watchers = new Set<ServerResponse>();
  readonly clients: string[] = [];

  constructor({ certificate, key, authority }: DoorCredentials) {
    const tls = {
      cert: certificate,
      key,
      ca: authority,
      requestCert: true,
      minVersion: "TLSv1.3",
    } as const;
    this.#server = createServer(tls, (request, response) => {
      this.clients.push(request.url ?? "");
      response.writeHead(200, { "content-type": "application/json" });
      response.write(`${JSON.stringify({ type: "state", items: [] })}\n`);
      this.#watchers.add(response);
    });
  }

  async listen(): Promise<number> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    return (this.#server.address() as AddressInfo).port;
  }

  say(object: MachineReport): void {
    for (const each of this.#watchers)
      each.write(`${JSON.stringify({ type: "machine", object })}\n`);
  }

  async close(): Promise<void> {
    for (const each of this.#watchers) each.destroy();
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

export function instanceTests(control: () => ControlUnderTest): void {
  const end = new AbortController();
  const problems: unknown[] = [];
  const running: Promise<unknown>[] = [];
  let door: TestDoor;
  let machines: NodeMachines;

  async function credentials(
    name: string,
    user: string,
    serves?: string,
  ): Promise<DoorCredentials> {
    const { authority } = control().plane;
    const pair = await authority.sign(name, {
      user,
      ...(serves === undefined ? {} : { names: [serves] }),
    });
    const [certificate, key, of] = await Promise.all(
      [pair.cert, pair.key, authority.cert].map((path) => readFile(path, "utf8")),
    );
    return { certificate: certificate ?? "", key: key ?? "", authority: of ?? "" };
  }

  beforeAll(async () => {
    const { client, plane } = control();
    await plane.kubectl.run("create", "namespace", NAMESPACE);
    await plane.kubectl.run("-n", NAMESPACE, "create", "serviceaccount", "default");
    await plane.kubectl.run("apply", "-f", RUNTIME_CLASSES);
    const node = await client.create(NODES, { metadata: { name: NODE } });
    const status = { addresses: [{ type: "InternalIP", address: "127.0.0.1" }] };
    await client.update(NODES, { ...node, status }, { subresource: "status" });
    door = new TestDoor(await credentials("door", `trine-node:${NODE}`, NODE));
    const port = await door.listen();
    const own = await credentials("door-client", "trine-control");
    const make: Parameters<typeof controlCaches>[0] = (resource, indices = {}, within = {}) => {
      const onProblem = (cause: unknown): number => problems.push(cause);
      const cache = new ListWatchCache(client, resource, { indices, onProblem, ...within });
      running.push(cache.run(end.signal));
      return cache;
    };
    const caches = { ...controlCaches(make), ...instanceCaches(make) };
    const listeners = new Set<(pod: string) => void>();
    machines = new NodeMachines({
      ...{ pods: caches.pods, nodes: caches.nodes, now: () => new Date() },
      open: (of) => openDoor({ ...of, port, credentials: () => own }),
      onDoor: () => undefined,
      onChange: (pod) => {
        for (const listener of listeners) listener(pod);
      },
    });
    const controller = instanceController({
      ...{ api: client, caches, machines, emptyImage: "empty:1", now: () => new Date() },
      events: { record: () => undefined },
      onMachine: (listener) => {
        listeners.add(listener);
        return () => void listeners.delete(listener);
      },
      onFailure: (name, key, cause) => {
        if (kindOf(cause) !== "conflict" && key.startsWith(`${NAMESPACE}/`))
          problems.push([name, key, cause]);
      },
    });
    running.push(controller.run(end.signal));
  });

  afterAll(async () => {
    end.abort();
    await machines.close();
    await Promise.allSettled(running);
    await door.close();
    expect(problems).toEqual([]);
  });

  const at = { namespace: NAMESPACE, name: "web" };
  const instance = (): Promise<Stored<VirtualMachineInstance>> =>
    control().client.get(INSTANCES, at);

  const untilPhase = (wanted: string): Promise<unknown> =>
    pollUntil(`phase ${wanted}`, { ms: LONG_MS }, async () =>
      (await instance()).status?.phase === wanted ? true : undefined,
    );

  const untilPod = (): Promise<Stored<Pod>> =>
    pollUntil("its pod", { ms: LONG_MS }, async () => {
      const { items } = await control().client.list(PODS, { namespace: NAMESPACE });
      return items[0];
    });

  test("an instance has a pod, runs when its node says so, and goes with its pod", async () => {
    const { client, plane } = control();
    const domain = {
      memory: { guest: "64Mi" },
      devices: { disks: [{ name: "root", disk: { bus: "virtio" } }] },
    };
    const volumes = [{ name: "root", containerDisk: { image: "disks/any:1" } }];
    const object = {
      apiVersion: "kubevirt.io/v1",
      kind: "VirtualMachineInstance",
      metadata: at,
      spec: { domain, volumes },
    };
    await plane.kubectl.runWith(JSON.stringify(object), "create", "-f", "-");

    const pod = await untilPod();
    expect(pod.metadata.annotations).toMatchObject({
      "trine.dev/machine": "compute",
      "trine.dev/memory": "64Mi",
    });
    expect(pod.metadata.labels).toMatchObject({
      "kubevirt.io": "virt-launcher",
      "vmi.kubevirt.io/id": "web",
    });
    expect(pod.spec).toMatchObject({ runtimeClassName: "trine-vm", overhead: { memory: "96Mi" } });
    await untilPhase("Scheduling");

    const { name, uid } = pod.metadata;
    const binding = {
      apiVersion: "v1",
      kind: "Binding",
      metadata: { name },
      target: { kind: "Node", name: NODE },
    };
    const path = `/api/v1/namespaces/${NAMESPACE}/pods/${name}/binding`;
    await plane.kubectl.runWith(JSON.stringify(binding), "create", "--raw", path, "-f", "-");
    // As kubelet writes it: an instance without an address is not ready.
    const addressed = { status: { podIP: "10.1.0.9", podIPs: [{ ip: "10.1.0.9" }] } };
    const patched = ["--subresource=status", "--type=merge", "-p", JSON.stringify(addressed)];
    await plane.kubectl.run("-n", NAMESPACE, "patch", "pod", name, ...patched);
    await pollUntil("the door's client", { ms: LONG_MS }, () =>
      door.clients.length > 0 ? true : undefined,
    );
    const report: MachineReport = {
      ...{
        namespace: NAMESPACE,
        pod: name,
        uid,
        sandboxId: "s",
        phase: "starting",
        accelerator: "tcg",
      },
      since: new Date().toISOString(),
      cpus: { sockets: 1, cores: 1, threads: 1 },
      memory: { guestBytes: 64 * 1024 ** 2, overheadBytes: 50 * 1024 ** 2 },
      interfaces: [
        { name: "eth0", mac: "02:00:00:00:00:01", addresses: ["10.1.0.9"], fromGuest: false },
      ],
      agent: { connected: false, frozen: false },
      disks: [],
    };
    door.say(report);
    await untilPhase("Scheduled");
    door.say({ ...report, phase: "running" });
    await untilPhase("Running");
    const { status } = await instance();
    expect(status).toMatchObject({
      nodeName: NODE,
      activePods: { [uid]: NODE },
      memory: { memoryOverhead: "50Mi" },
      interfaces: [{ name: "default", ipAddress: "10.1.0.9" }],
    });
    const shown = await plane.kubectl.run("-n", NAMESPACE, "get", "vmi", "web", "--no-headers");
    expect(shown).toMatch(/Running\s+10\.1\.0\.9\s+node-of-instances\s+True/);

    await client.delete(INSTANCES, at);
    await pollUntil("the pod is told to go", { ms: LONG_MS }, async () =>
      (await untilPod()).metadata.deletionTimestamp === undefined ? undefined : true,
    );
    await client.delete(PODS, { namespace: NAMESPACE, name }, { gracePeriodSeconds: 0 });
    await pollUntil("the instance is gone", { ms: LONG_MS }, () =>
      instance().then(
        () => undefined,
        (cause: unknown) => (kindOf(cause) === "notFound" ? true : undefined),
      ),
    );
  });
}
