// VirtualMachines and replica sets on the real API server, without pods: the test does what the instances' controller would.
import { join } from "node:path";
import { kindOf, pollUntil } from "@trine/base";
import {
  type ControlDeps,
  controlCaches,
  machineController,
  replicaSetController,
} from "@trine/controllers";
import { ListWatchCache, type Stored, resourceOf } from "@trine/kube-client";
import {
  CLUSTER_DEFAULTS,
  INSTANCE_FINALIZER,
  VIRTUAL_MACHINE,
  VIRTUAL_MACHINE_INSTANCE,
  type VirtualMachine,
  type VirtualMachineInstance,
} from "@trine/kube-types";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { ControlUnderTest } from "./control-under-test.ts";

const NAMESPACE = "machines";
const MACHINES = resourceOf(VIRTUAL_MACHINE);
const INSTANCES = resourceOf(VIRTUAL_MACHINE_INSTANCE);
const OBJECTS = join(import.meta.dirname, "../deploy/instancetypes");
const LONG_MS = 60_000;

const DISK = { name: "root", containerDisk: { image: "disks/any:1" } };
const TEMPLATE = {
  metadata: { labels: { app: "web" } },
  spec: {
    domain: { memory: { guest: "64Mi" }, devices: { disks: [{ name: "root", disk: {} }] } },
    volumes: [DISK],
  },
};

type Instance = Stored<VirtualMachineInstance>;

export function machineTests(control: () => ControlUnderTest): void {
  const end = new AbortController();
  const problems: unknown[] = [];
  const running: Promise<unknown>[] = [];

  beforeAll(async () => {
    const { client, plane } = control();
    await plane.kubectl.run("create", "namespace", NAMESPACE);
    const caches = controlCaches((resource, indices = {}) => {
      const onProblem = (cause: unknown): number => problems.push(cause);
      const cache = new ListWatchCache(client, resource, { indices, onProblem });
      running.push(cache.run(end.signal));
      return cache;
    });
    const deps: ControlDeps = {
      api: client,
      caches,
      events: { record: () => undefined },
      defaults: () => CLUSTER_DEFAULTS,
      now: () => new Date(),
      random: Math.random,
      // A cache that is late makes conflicts, which are tried again.
      onFailure: (controller, key, cause) => {
        if (kindOf(cause) !== "conflict") problems.push([controller, key, cause]);
      },
    };
    const controllers = [machineController(deps), replicaSetController(deps)];
    running.push(...controllers.map((each) => each.run(end.signal)));
  });

  afterAll(async () => {
    end.abort();
    await Promise.allSettled(running);
    expect(problems).toEqual([]);
  });

  const kubectl = (...words: readonly string[]): Promise<string> =>
    control().plane.kubectl.run("-n", NAMESPACE, ...words);

  const create = (object: object): Promise<string> =>
    control().plane.kubectl.runWith(JSON.stringify(object), "-n", NAMESPACE, "create", "-f", "-");

  const machine = (name: string, spec: object = {}): object => ({
    apiVersion: "kubevirt.io/v1",
    kind: "VirtualMachine",
    metadata: { name },
    spec: { runStrategy: "Always", template: TEMPLATE, ...spec },
  });

  const instances = async (): Promise<readonly Instance[]> =>
    (await control().client.list(INSTANCES, { namespace: NAMESPACE })).items;

  async function untilInstance(name: string): Promise<Instance> {
    let found: Instance | undefined;
    await until(async () => {
      found = (await instances()).find(({ metadata }) => metadata.name === name);
      return found !== undefined;
    });
    if (found === undefined) throw new Error(`no instance ${name}`);
    return found;
  }

  const until = (holds: () => Promise<boolean>): Promise<unknown> =>
    pollUntil("the control plane", { ms: LONG_MS }, async () => (await holds()) || undefined);

  async function untilStatus(name: string, wanted: string): Promise<Stored<VirtualMachine>> {
    const at = { namespace: NAMESPACE, name };
    await until(async () => {
      const { status } = await control().client.get(MACHINES, at);
      return status?.printableStatus === wanted;
    });
    return control().client.get(MACHINES, at);
  }

  /** Writes on an instance until none is in the way. */
  async function write(name: string, change: (vmi: Instance) => Instance): Promise<void> {
    const { client } = control();
    await until(async () => {
      const vmi = await client.get(INSTANCES, { namespace: NAMESPACE, name });
      return client.update(INSTANCES, change(vmi)).then(
        () => true,
        (cause: unknown) => {
          if (kindOf(cause) !== "conflict") throw cause;
          return false;
        },
      );
    });
  }

  const runs = (name: string): Promise<void> =>
    write(name, (vmi) => {
      const conditions = [{ type: "Ready", status: "True" }];
      return { ...vmi, status: { ...vmi.status, phase: "Running", conditions } };
    });

  /** An instance that was told to go, ends. */
  async function ends(name: string): Promise<void> {
    await until(async () => {
      const found = (await instances()).find(({ metadata }) => metadata.name === name);
      return found?.metadata.deletionTimestamp !== undefined;
    });
    await write(name, (vmi) => {
      const { finalizers = [] } = vmi.metadata;
      const others = finalizers.filter((each) => each !== INSTANCE_FINALIZER);
      const status = { ...vmi.status, phase: "Succeeded" };
      return { ...vmi, metadata: { ...vmi.metadata, finalizers: others }, status };
    });
  }

  test(
    "a machine that is created runs, is stopped and started, and goes",
    async () => {
      await create(machine("web"));
      const first = await untilInstance("web");
      expect(first.metadata.ownerReferences).toMatchObject([{ kind: "VirtualMachine" }]);
      expect(first.status?.phase).toBe("Pending");
      await untilStatus("web", "Starting");
      await runs("web");
      const { status } = await untilStatus("web", "Running");
      expect(status).toMatchObject({ created: true, ready: true, runStrategy: "Always" });
      expect(await kubectl("get", "vm", "web", "--no-headers")).toMatch(/ Running +True/);

      const halted = JSON.stringify({ spec: { runStrategy: "Halted" } });
      await kubectl("patch", "vm", "web", "--type=merge", "-p", halted);
      await untilStatus("web", "Stopping");
      await ends("web");
      await untilStatus("web", "Stopped");

      const always = JSON.stringify({ spec: { runStrategy: "Always" } });
      await kubectl("patch", "vm", "web", "--type=merge", "-p", always);
      const second = await untilInstance("web");
      expect(second.metadata.uid).not.toBe(first.metadata.uid);
      expect(second.spec.domain.firmware).toEqual(first.spec.domain.firmware);
      expect(second.spec.domain.devices.interfaces).toEqual(first.spec.domain.devices.interfaces);

      const gone = kubectl("delete", "vm", "web", "--timeout=60s");
      await ends("web");
      await gone;
      expect((await instances()).length).toBe(0);
    },
    LONG_MS * 2,
  );

  test(
    "the instance types and preferences that ship are taken, and u1.small makes a machine of its size",
    async () => {
      const { plane } = control();
      const taken = await plane.kubectl.run("apply", "--server-side", "-f", OBJECTS);
      expect(taken.trim().split("\n").length).toBe(65 + 57);
      const spec = { domain: { devices: {} }, volumes: [DISK] };
      const given = { instancetype: { name: "u1.small" }, preference: { name: "alpine" } };
      await create(machine("small", { ...given, template: { spec } }));
      const vmi = await untilInstance("small");
      expect(vmi.spec.domain).toMatchObject({
        cpu: { sockets: 1, cores: 1, threads: 1 },
        memory: { guest: "2Gi" },
        devices: { disks: [{ name: "root", disk: { bus: "virtio" } }], rng: {} },
      });
      const { status } = await untilStatus("small", "Starting");
      expect(status?.instancetypeRef?.controllerRevisionRef?.name).toMatch(
        /^small-u1\.small-v1beta1-/,
      );
      const gone = kubectl("delete", "vm", "small", "--timeout=60s");
      await ends("small");
      await gone;
    },
    LONG_MS * 2,
  );

  test(
    "a replica set has as many instances as kubectl scale says",
    async () => {
      await create({
        apiVersion: "kubevirt.io/v1",
        kind: "VirtualMachineInstanceReplicaSet",
        metadata: { name: "farm" },
        spec: { replicas: 1, selector: { matchLabels: { app: "web" } }, template: TEMPLATE },
      });
      const alive = async (): Promise<readonly Instance[]> =>
        (await instances()).filter(({ metadata }) => metadata.deletionTimestamp === undefined);
      const untilCount = (count: number): Promise<unknown> =>
        until(async () => (await alive()).length === count);
      await untilCount(1);
      const [first] = await alive();
      if (first === undefined) throw new Error("no instance");
      await runs(first.metadata.name);
      await kubectl("scale", "vmirs", "farm", "--replicas=3");
      await untilCount(3);
      await until(async () =>
        / 3 +3 +1 /.test(await kubectl("get", "vmirs", "farm", "--no-headers")),
      );
      await kubectl("scale", "vmirs", "farm", "--replicas=1");
      await untilCount(1);
      // The one that is ready stays.
      expect((await alive()).map(({ metadata }) => metadata.name)).toEqual([first.metadata.name]);
    },
    LONG_MS * 2,
  );
}
