import { TrineError, kindOf } from "@trine/base";
import { CLAIMS, PODS, type Resource, resourceOf } from "@trine/kube-client";
import { VIRTUAL_MACHINE, VIRTUAL_MACHINE_INSTANCE, crdOf } from "@trine/kube-types";
import { expect, test } from "vitest";
import { MemoryCluster } from "./testing/memory-cluster.ts";
import {
  API_SERVICES,
  CLUSTER_BINDINGS,
  CRDS,
  DEPLOYMENTS,
  NAMESPACES,
  RUNTIME_CLASSES,
  WEBHOOKS,
} from "./resources.ts";
import { uninstallCluster } from "./uninstall-cluster.ts";

const labels = { "app.kubernetes.io/part-of": "trine" };
const [MUTATING] = WEBHOOKS;
const MACHINES = resourceOf(VIRTUAL_MACHINE);
const INSTANCES = resourceOf(VIRTUAL_MACHINE_INSTANCE);
const never = new AbortController().signal;
const service = { namespace: "trine-system", name: "trine-virt-api" };

function put(api: MemoryCluster, resource: Resource, object: object): Promise<unknown> {
  return api.create(resource, object);
}

/** What an installation and its program have made, with two machines; nothing of it runs. */
async function installed({ machines = true } = {}): Promise<MemoryCluster> {
  const api = new MemoryCluster();
  for (const kind of [VIRTUAL_MACHINE, VIRTUAL_MACHINE_INSTANCE]) await put(api, CRDS, crdOf(kind));
  await put(api, NAMESPACES, { metadata: { name: "trine-system", labels } });
  await put(api, CLUSTER_BINDINGS, { metadata: { name: "trine-control", labels } });
  await put(api, DEPLOYMENTS, {
    metadata: { namespace: "trine-system", name: "trine-control", labels },
    spec: { replicas: 2 },
  });
  await put(api, MUTATING, {
    metadata: { name: "virt-api-mutator" },
    webhooks: [{ clientConfig: { service } }],
  });
  await put(api, MUTATING, { metadata: { name: "another" }, webhooks: [{ clientConfig: {} }] });
  await put(api, API_SERVICES, {
    metadata: { name: "v1.subresources.kubevirt.io" },
    spec: { service },
  });
  await put(api, API_SERVICES, { metadata: { name: "v1.apps" }, spec: {} });
  await put(api, RUNTIME_CLASSES, { metadata: { name: "trine-vm", labels }, handler: "trine-vm" });
  const finalizers = ["kubevirt.io/virtualMachineControllerFinalize"];
  if (machines) {
    await put(api, MACHINES, { metadata: { namespace: "a", name: "vm", finalizers } });
    await put(api, INSTANCES, {
      metadata: {
        namespace: "a",
        name: "vm",
        finalizers: [...finalizers, "kubevirt.io/foregroundDeleteVirtualMachine"],
      },
    });
  }
  await put(api, CLAIMS, {
    metadata: {
      namespace: "a",
      name: "disk",
      finalizers: ["kubernetes.io/pvc-protection", "trine.dev/import"],
    },
  });
  return api;
}

function launcher(name: string, kind: string): object {
  const owner = { apiVersion: "kubevirt.io/v1", kind, name: "vm", uid: "1", controller: true };
  return {
    metadata: {
      namespace: "a",
      name,
      labels: { "kubevirt.io": "virt-launcher" },
      ownerReferences: [owner],
      ...(name === "theirs" && { finalizers: ["cdi.kubevirt.io/theirs"] }),
    },
    spec: { containers: [] },
  };
}

function options(told: string[] = []) {
  const tell = (line: string): void => {
    told.push(line);
  };
  return { removeMachines: true, dryRun: false, timeoutMs: 0, tell };
}

async function left(api: MemoryCluster): Promise<string[]> {
  const all = [CRDS, NAMESPACES, CLUSTER_BINDINGS, DEPLOYMENTS, MUTATING, API_SERVICES];
  const names: string[] = [];
  for (const resource of [...all, RUNTIME_CLASSES, MACHINES, INSTANCES]) {
    const { items } = await api.list(resource, {});
    names.push(...items.map(({ metadata }) => `${resource.plural}/${metadata.name}`));
  }
  return names;
}

const OTHERS = ["mutatingwebhookconfigurations/another", "apiservices/v1.apps"];

test("takes all of it back while nothing of the control plane runs, and nothing of others", async () => {
  const api = await installed();
  await uninstallCluster(api, options(), never);
  expect(await left(api)).toEqual(OTHERS);
  const claim = await api.get(CLAIMS, { namespace: "a", name: "disk" });
  expect(claim.metadata.finalizers).toEqual(["kubernetes.io/pvc-protection"]);
  const told: string[] = [];
  await uninstallCluster(api, options(told), never);
  expect(told).toEqual([]);
});

test("refuses while there are machines, and says how many", async () => {
  const api = await installed();
  const before = await left(api);
  const refused = uninstallCluster(api, { ...options(), removeMachines: false }, never);
  await expect(refused).rejects.toThrow("1 virtualmachines, 1 virtualmachineinstances");
  expect(await left(api)).toEqual(before);
});

test("another KubeVirt's machines, their pods and its finalizers are not touched", async () => {
  const api = await installed();
  const name = "virtualmachineinstances.kubevirt.io";
  const { spec, metadata } = await api.get(CRDS, { name });
  await api.update(CRDS, { spec, metadata: { ...metadata, labels: {} } });
  await put(api, PODS, launcher("theirs", "VirtualMachineInstance"));
  const from = api.writes.length;
  await expect(uninstallCluster(api, options(), never)).rejects.toMatchObject({
    kind: "wrongState",
    message: expect.stringContaining(`the kind ${name} is not Trine's`) as string,
  });
  // Nor the rest, where there is none of a kind at the moment.
  const at = { namespace: "a", name: "vm" };
  await api.patch(INSTANCES, at, [{ op: "remove", path: "/metadata/finalizers" }]);
  await api.delete(INSTANCES, at);
  await uninstallCluster(api, options(), never);
  expect(await api.get(PODS, { namespace: "a", name: "theirs" })).toMatchObject({
    metadata: { finalizers: ["cdi.kubevirt.io/theirs"] },
  });
  expect(await left(api)).toEqual([`customresourcedefinitions/${name}`, ...OTHERS]);
  const deleted = api.writes.slice(from).filter(({ verb }) => verb === "delete");
  expect(deleted.map(({ resource }) => resource)).not.toContain("pods");
});

test("pods of our instances end, whoever else calls its own so", async () => {
  const api = await installed();
  await put(api, PODS, launcher("ours", "VirtualMachineInstance"));
  await put(api, PODS, launcher("another", "Job"));
  await uninstallCluster(api, options(), never);
  const { items } = await api.list(PODS, {});
  expect(items.map(({ metadata }) => metadata.name)).toEqual(["another"]);
});

test("machines that are made while the control plane ends are not taken", async () => {
  for (const late of ["deployments", "mutatingwebhookconfigurations", "persistentvolumeclaims"]) {
    const api = await installed({ machines: false });
    api.hooks.after = ({ verb, resource }) => {
      if (verb === "create" || resource !== late) return;
      api.hooks.after = () => undefined;
      void put(api, MACHINES, { metadata: { namespace: "a", name: "late" } });
      void put(api, PODS, launcher("ours", "VirtualMachineInstance"));
    };
    const ended = uninstallCluster(api, { ...options(), removeMachines: false }, never);
    await expect(ended, late).rejects.toMatchObject({
      kind: "wrongState",
      message: expect.stringContaining("1 virtualmachines") as string,
    });
    expect(await left(api), late).toContain("virtualmachines/late");
    expect(await api.list(PODS, {}), late).toMatchObject({ items: [{}] });
  }
});

test("a dry run names what would go and writes nothing", async () => {
  const api = await installed();
  const { length } = api.writes;
  const told: string[] = [];
  await uninstallCluster(api, { ...options(told), dryRun: true }, never);
  expect(api.writes).toHaveLength(length);
  expect(told).toContain(
    "remove  customresourcedefinitions.apiextensions.k8s.io/virtualmachines.kubevirt.io",
  );
  expect(told).toContain("release persistentvolumeclaims/disk in a");
  expect(told.at(-1)).toBe("remove  namespaces/trine-system");
});

test("rights go first, then whoever would be asked, then what nobody else releases", async () => {
  const api = await installed();
  const from = api.writes.length;
  await uninstallCluster(api, options(), never);
  const order = api.writes.slice(from).map(({ verb, resource }) => `${verb} ${resource}`);
  const at = (what: string): number => order.indexOf(what);
  expect(at("delete clusterrolebindings")).toBeLessThan(at("delete deployments"));
  expect(at("delete deployments")).toBeLessThan(at("delete mutatingwebhookconfigurations"));
  expect(at("delete mutatingwebhookconfigurations")).toBeLessThan(at("patch virtualmachines"));
  expect(at("patch virtualmachines")).toBeLessThan(at("delete customresourcedefinitions"));
  expect(order.at(-1)).toBe("delete namespaces");
});

test("whoever ends it before or after any write finishes it by running it again", async () => {
  const whole = await installed();
  const from = whole.writes.length;
  await uninstallCluster(whole, options(), never);
  const count = whole.writes.length - from;
  expect(count).toBeGreaterThan(10);
  for (const when of ["before", "after"] as const) {
    for (let nth = 0; nth < count; nth += 1) {
      const api = await installed();
      let seen = 0;
      api.hooks[when] = () => {
        seen += 1;
        if (seen === nth + 1) throw new TrineError("canceled", "the connection is lost");
      };
      const ended = await uninstallCluster(api, options(), never).catch(kindOf);
      expect(ended, `${when} write ${nth}`).toBe("canceled");
      await uninstallCluster(api, options(), never);
      expect(await left(api), `${when} write ${nth}`).toEqual(OTHERS);
    }
  }
});
