import { type KubeObject, PODS, SECRETS, StatusError, resourceOf } from "@trine/kube-client";
import { KINDS, VIRTUAL_MACHINE, crdOf } from "@trine/kube-types";
import { TrineError } from "@trine/base";
import { expect, test } from "vitest";
import { installCluster } from "./install-cluster.ts";
import { readManifest } from "./read-manifest.ts";
import {
  API_SERVICES,
  CRDS,
  DEPLOYMENTS,
  NAMESPACES,
  ownResource,
  resourceOfObject,
} from "./resources.ts";
import { MemoryCluster } from "./testing/memory-cluster.ts";
import { uninstallCluster } from "./uninstall-cluster.ts";

const labels = { "app.kubernetes.io/part-of": "trine" };
const never = new AbortController().signal;
const deployment = {
  apiVersion: "apps/v1",
  kind: "Deployment",
  metadata: { namespace: "trine-system", name: "trine-control", labels },
  spec: { replicas: 2 },
};
const cluster: readonly KubeObject[] = [
  deployment,
  { apiVersion: "v1", kind: "Namespace", metadata: { name: "trine-system", labels } },
  crdOf(VIRTUAL_MACHINE),
];
const defaults: readonly KubeObject[] = [
  { apiVersion: "cdi.kubevirt.io/v1beta1", kind: "CDI", metadata: { name: "cdi", labels } },
];

/** Plays what Kubernetes does with what it is given. */
class Living extends MemoryCluster {
  serves = true;

  override async apply<T extends KubeObject>(
    ...args: Parameters<typeof MemoryCluster.prototype.apply<T>>
  ): ReturnType<typeof MemoryCluster.prototype.apply<T>> {
    const answer = await super.apply(...args);
    const [resource, { metadata }, { dryRun }] = args;
    const name = metadata?.name ?? "";
    if (dryRun === true) return answer;
    const is = (type: string) => ({ conditions: [{ type, status: "True" }] });
    if (resource.plural === CRDS.plural) await this.#status(CRDS, { name }, is("Established"));
    if (resource.plural === DEPLOYMENTS.plural) {
      const availableReplicas = this.serves ? 1 : 0;
      const status = { observedGeneration: 9, updatedReplicas: 2, availableReplicas };
      await this.#status(DEPLOYMENTS, { namespace: "trine-system", name }, status);
      const service = { metadata: { name: "v1.subresources.kubevirt.io" }, spec: {} };
      await this.create(API_SERVICES, service).catch(() => undefined);
      await this.#status(API_SERVICES, service.metadata, is("Available"));
    }
    return answer;
  }

  async #status(
    resource: typeof CRDS | typeof DEPLOYMENTS | typeof API_SERVICES,
    at: { name: string; namespace?: string },
    value: object,
  ): Promise<void> {
    const operation = { op: "add", path: "/status", value } as const;
    await this.patch(resource as typeof CRDS, at, [operation], { subresource: "status" });
  }
}

function options(told: string[] = []) {
  const tell = (line: string): void => {
    told.push(line);
  };
  return { cluster, defaults, dryRun: false, timeoutMs: 0, tell };
}

test("kinds come first, then the namespace, and the defaults when it serves", async () => {
  const api = new Living();
  const told: string[] = [];
  await installCluster(api, options(told), never);
  const created = api.writes
    .filter(({ verb }) => verb === "create")
    .map(({ resource }) => resource);
  expect(created).toEqual([
    "customresourcedefinitions",
    "namespaces",
    "deployments",
    "apiservices",
    "cdis",
  ]);
  expect(told).toContain("create  deployments.apps/trine-control in trine-system");
});

test("a second run changes nothing", async () => {
  const api = new Living();
  await installCluster(api, options(), never);
  const { length } = api.writes;
  const told: string[] = [];
  await installCluster(api, options(told), never);
  expect(told).toEqual(["nothing to change"]);
  expect(api.writes).toHaveLength(length);
});

test("a dry run says what would be made and writes nothing", async () => {
  const api = new Living();
  const told: string[] = [];
  await installCluster(api, { ...options(told), dryRun: true }, never);
  expect(told).toHaveLength(4);
  expect(api.writes).toEqual([]);
});

test("it does not say that it serves while it does not, and says why", async () => {
  const api = new Living();
  api.serves = false;
  const told: string[] = [];
  await expect(installCluster(api, options(told), never)).rejects.toThrow(
    "the control plane does not serve: 0 of 2 pods serve",
  );
  api.serves = true;
  await api.delete(DEPLOYMENTS, { namespace: "trine-system", name: "trine-control" });
  await installCluster(api, options(told), never);
});

test("what is somebody else's is named, and nothing is written", async () => {
  class Foreign extends Living {
    override apply(): Promise<never> {
      const status = { code: 409, reason: "Conflict", message: "by virt-operator", causes: [] };
      const whole = { ...status, retryAfterMs: undefined };
      return Promise.reject(new StatusError("PATCH", whole));
    }
  }
  const api = new Foreign();
  await api.create(NAMESPACES, { metadata: { name: "trine-system" } });
  const { length } = api.writes;
  const refused = installCluster(api, options(), never);
  await expect(refused).rejects.toThrow(/not Trine's.*namespaces\/trine-system.*virt-operator/);
  expect(api.writes).toHaveLength(length);
});

test("a namespace that was there before is as it was after an uninstall, with what is in it", async () => {
  const api = new Living();
  const metadata = { name: "trine-system", labels: { team: "shop" } };
  await api.create(NAMESPACES, { metadata });
  await api.create(SECRETS, { metadata: { namespace: "trine-system", name: "pull" } });
  await api.create(SECRETS, { metadata: { namespace: "trine-system", name: "trine-authority" } });
  await installCluster(api, options(), never);
  // A second run says it again: what is applied no more would go.
  const { cluster: objects } = options();
  const changed = objects.map((each) => (each === deployment ? { ...each, spec: {} } : each));
  await installCluster(api, { ...options(), cluster: changed }, never);
  const told: string[] = [];
  const tell = (line: string): unknown => told.push(line);
  const uninstall = { removeMachines: false, dryRun: false, timeoutMs: 0, tell };
  await uninstallCluster(api, uninstall, never);
  expect(told.at(-1)).toBe("keep    namespaces/trine-system: somebody else has made it");
  const { metadata: left } = await api.get(NAMESPACES, { name: "trine-system" });
  expect(left).toMatchObject({ labels: { team: "shop" }, annotations: {} });
  expect(Object.keys(left.labels ?? {})).toEqual(["team"]);
  const { items } = await api.list(SECRETS, {});
  expect(items.map(({ metadata: { name } }) => name)).toEqual(["pull"]);
  expect(await api.list(DEPLOYMENTS, {})).toMatchObject({ items: [] });
});

function crd(name: string): KubeObject {
  return KINDS.filter((kind) => kind.name === name).map((kind) => crdOf(kind))[0] as KubeObject;
}
const account = (name: string): KubeObject => ({
  apiVersion: "v1",
  kind: "ServiceAccount",
  metadata: { namespace: "trine-system", name, labels },
});
const runtimeClass = (name: string): KubeObject => ({
  apiVersion: "node.k8s.io/v1",
  kind: "RuntimeClass",
  metadata: { name, labels },
});

/** What two releases have installed one after the other, with what came between them. */
async function upgraded(
  old: { readonly cluster?: readonly KubeObject[]; readonly defaults?: readonly KubeObject[] },
  between: (api: Living) => Promise<unknown> = () => Promise.resolve(),
) {
  const api = new Living();
  const before = {
    cluster: [...cluster, ...(old.cluster ?? [])],
    defaults: [...defaults, ...(old.defaults ?? [])],
  };
  await installCluster(api, { ...options(), ...before }, never);
  await between(api);
  const planned: string[] = [];
  const { length } = api.writes;
  await installCluster(api, { ...options(planned), dryRun: true }, never);
  expect(api.writes).toHaveLength(length);
  const told: string[] = [];
  await installCluster(api, options(told), never);
  expect(told).toEqual(planned);
  const removed = api.writes
    .slice(length)
    .map(({ verb, resource, key }) => `${verb} ${resource} ${key}`);
  return { planned, removed };
}

test("what an older release has installed and this one has not goes, and a dry run says so", async () => {
  const old = [account("old-helper"), runtimeClass("trine-old"), crd("VirtualMachinePool")];
  const { planned, removed } = await upgraded({ cluster: old });
  expect(planned).toEqual([
    "remove  serviceaccounts/old-helper in trine-system",
    "remove  runtimeclasses.node.k8s.io/trine-old",
    "remove  customresourcedefinitions.apiextensions.k8s.io/virtualmachinepools.pool.kubevirt.io",
  ]);
  expect(removed).toEqual([
    "delete serviceaccounts trine-system/old-helper",
    "delete runtimeclasses trine-old",
    "delete customresourcedefinitions virtualmachinepools.pool.kubevirt.io",
  ]);
});

test("what is in use stays: a class of pods, a kind with objects, an instance type of machines", async () => {
  const type: KubeObject = {
    apiVersion: "instancetype.kubevirt.io/v1beta1",
    kind: "VirtualMachineClusterInstancetype",
    metadata: { name: "u1.old", labels },
  };
  const old = [
    runtimeClass("trine-old"),
    crd("VirtualMachinePool"),
    crd("VirtualMachineClusterInstancetype"),
  ];
  const { planned, removed } = await upgraded({ cluster: old, defaults: [type] }, async (api) => {
    await api.create(PODS, {
      metadata: { namespace: "a", name: "p" },
      spec: { runtimeClassName: "trine-old", containers: [] },
    });
    await api.create(ownResource("VirtualMachinePool"), {
      metadata: { namespace: "a", name: "p" },
    });
    await api.create(resourceOf(VIRTUAL_MACHINE), {
      metadata: { namespace: "a", name: "m" },
      spec: { instancetype: { name: "u1.old" }, template: { spec: { domain: { devices: {} } } } },
    });
  });
  const crds = "customresourcedefinitions.apiextensions.k8s.io";
  const types = "virtualmachineclusterinstancetypes.instancetype.kubevirt.io";
  expect(planned).toEqual([
    "keep    runtimeclasses.node.k8s.io/trine-old: no longer installed, but pods have it",
    `keep    ${types}/u1.old: no longer installed, but machines have it`,
    `keep    ${crds}/virtualmachinepools.pool.kubevirt.io: no longer installed, but there are 1 of it`,
    `keep    ${crds}/${types}: no longer installed, but there are 1 of it`,
    "nothing to change",
  ]);
  expect(removed).toEqual([]);
});

test("what others have made with our label stays, a copy of what was installed too", async () => {
  const { planned } = await upgraded({}, async (api) => {
    const accounts = {
      group: "",
      version: "v1",
      kind: "ServiceAccount",
      plural: "serviceaccounts",
    };
    const of = { ...accounts, namespaced: true };
    const at = { namespace: "trine-system", labels };
    const annotations = { "trine.dev/installed": "trine-system/trine-control" };
    await api.create(of, { metadata: { ...at, name: "theirs" } });
    await api.create(of, { metadata: { ...at, name: "copy", annotations } });
    const elsewhere = { ...at, namespace: "shop", name: "trine-control", annotations };
    await api.create(of, { metadata: elsewhere });
  });
  expect(planned).toEqual(["nothing to change"]);
});

test("what has taken a leftover's name since it was looked at stays", async () => {
  class Racing extends Living {
    override async delete(...args: Parameters<Living["delete"]>): Promise<void> {
      const [resource, at] = args;
      const { name, namespace = "" } = (await this.get(resource, at)).metadata;
      await super.delete(resource, at);
      await this.create(resource, { metadata: { name, namespace, labels } });
      await super.delete(...args);
    }
  }
  const api = new Racing();
  await installCluster(api, { ...options(), cluster: [...cluster, account("old")] }, never);
  await expect(installCluster(api, options(), never)).rejects.toMatchObject({ kind: "conflict" });
  const { items } = await api.list(resourceOfObject(account("old")), {});
  expect(items.map(({ metadata: { name } }) => name)).toEqual(["old"]);
});

test("a kind whose objects nobody lists stays, and what machines may have, too", async () => {
  class Deaf extends Living {
    override list<T extends KubeObject>(
      ...args: Parameters<typeof MemoryCluster.prototype.list<T>>
    ): ReturnType<typeof MemoryCluster.prototype.list<T>> {
      const isDeaf = ["virtualmachinepools", "virtualmachines"].includes(args[0].plural);
      if (isDeaf) return Promise.reject(new TrineError("notFound", "it is not served"));
      return super.list(...args);
    }
  }
  const type: KubeObject = {
    apiVersion: "instancetype.kubevirt.io/v1beta1",
    kind: "VirtualMachineClusterInstancetype",
    metadata: { name: "u1.old", labels },
  };
  const api = new Deaf();
  const old = [crd("VirtualMachinePool"), crd("VirtualMachineClusterInstancetype")];
  const before = { cluster: [...cluster, ...old], defaults: [...defaults, type] };
  await installCluster(api, { ...options(), ...before }, never);
  const told: string[] = [];
  await installCluster(api, options(told), never);
  expect(told.map((line) => line.replace(/^(\w+ +)\S*\//, "$1"))).toEqual([
    "keep    u1.old: no longer installed, but it is not known whether machines have it",
    "keep    virtualmachinepools.pool.kubevirt.io: no longer installed, but it is not known whether there are any of it",
    "keep    virtualmachineclusterinstancetypes.instancetype.kubevirt.io: no longer installed, but there are 1 of it",
    "nothing to change",
  ]);
});

test.each([
  ["", "is empty"],
  ["- 1", "document 0 is no object"],
  ["kind: X", "document 0 is no object"],
  ["a: [", "Flow sequence"],
])("a manifest %j is refused: %s", (text, words) => {
  expect(() => readManifest("it", text)).toThrow(words);
});
