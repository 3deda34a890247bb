// The control plane in a cluster, as users put it there: its image in pods of the real kubelet, by `trine install --cluster`
// and by kubectl, and taken back while it serves and while it is dead.
import { execFile } from "node:child_process";
import { mkdir, readFile, rm, symlink } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { pollUntil } from "@trine/base";
import { DIST, KubeCluster, runCommand } from "@trine/testkit";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parseAllDocuments } from "yaml";

const run = promisify(execFile);
const DEPLOY = join(import.meta.dirname, "../deploy");
const IMAGE = { name: "trine.dev/control:0.1.0", archive: join(DIST, "trine-control.oci.tar") };
const LONG_MS = 600_000;
const OURS = ["-l", "app.kubernetes.io/part-of=trine"];

describe("the control plane in a cluster", () => {
  let cluster: KubeCluster;
  let prefix: string;
  let services: Services;

  beforeAll(async () => {
    cluster = await KubeCluster.start({});
    await cluster.node.containerd.importImage(IMAGE);
    prefix = join(cluster.node.dir, "prefix");
    await mkdir(join(prefix, "share/trine"), { recursive: true });
    await symlink(join(DIST, "cluster"), join(prefix, "share/trine/cluster"));
    services = await Services.start(cluster);
  }, 3_600_000);

  afterAll(async () => {
    await services.stop();
    expect(await cluster.stop()).toEqual([]);
    await rm(prefix, { recursive: true, force: true });
  }, LONG_MS);

  function trine(...args: readonly string[]): Promise<{ stdout: string; stderr: string }> {
    const words = [join(DIST, "trine.mjs"), ...args, "--kubeconfig", cluster.kubeconfig];
    return run(process.execPath, words, { maxBuffer: 1 << 24 });
  }

  const install = (...args: readonly string[]) =>
    trine("install", "--cluster", "--prefix", prefix, ...args);

  /** All that an installation or its program makes, by name. */
  async function left(): Promise<string[]> {
    const { kubectl } = cluster;
    const lines = async (...args: readonly string[]): Promise<string[]> =>
      (await kubectl.run("get", "-o", "name", ...args)).split("\n").filter((line) => line !== "");
    const all = "clusterroles,clusterrolebindings,crd,runtimeclasses";
    const named = await lines(
      "csr,apiservices,mutatingwebhookconfigurations,validatingwebhookconfigurations,namespaces",
    );
    return [
      ...(await lines(all, ...OURS)),
      ...(await lines("-A", "roles,rolebindings,configmaps,services,deployments", ...OURS)),
      ...(await lines("-n", "kube-public", "configmaps")).filter((name) => name.includes("trine")),
      ...named.filter((name) => /trine|kubevirt|virt-api/.test(name)),
    ];
  }

  test("one file says what kustomize says", async () => {
    for (const name of ["cluster", "defaults"]) {
      const made = await readFile(join(DIST, "cluster", `${name}.yaml`), "utf8");
      const wanted = await cluster.kubectl.run("kustomize", join(DEPLOY, name));
      expect(sorted(made)).toEqual(sorted(wanted));
    }
  });

  test(
    "is installed, serves from its image, and is the same after another run",
    async () => {
      const { kubectl } = cluster;
      // RuntimeClasses were put there by the cluster's own start, without a label.
      const { stdout: dry } = await install("--dry-run");
      expect(dry).toContain("create  deployments.apps/trine-control in trine-system");
      expect(await left()).toEqual([]);
      const { stdout } = await install("--timeout", "8m");
      expect(stdout.trim().split("\n").at(-1)).toBe("the control plane serves");
      const again = await install();
      expect(again.stdout).toBe("nothing to change\nthe control plane serves\n");
      // As an older release would have left one.
      await kubectl.apply(OLD);
      const removal = "remove  serviceaccounts/old-helper in trine-system\n";
      expect((await install("--dry-run")).stdout).toBe(removal);
      expect((await install()).stdout).toBe(`${removal}the control plane serves\n`);
      expect((await install("--dry-run")).stdout).toBe("nothing to change\n");

      const pods = await kubectl.get<Pods>("-n", "trine-system", "pods", ...CONTROL);
      const [pod] = pods.items;
      expect(pod?.spec.containers[0]?.securityContext.readOnlyRootFilesystem).toBe(true);
      expect(pod?.spec.securityContext).toMatchObject({ runAsNonRoot: true, runAsUser: 65_532 });
      const ready = await fetch(`http://${pod?.status.podIP ?? ""}:8080/readyz`);
      expect(ready.status).toBe(200);
      const level = "{.metadata.labels.pod-security\\.kubernetes\\.io/enforce}";
      const namespace = ["get", "namespace", "trine-system", "-o", `jsonpath=${level}`];
      expect(await kubectl.run(...namespace)).toBe("restricted");
      expect(await kubectl.run("get", "--raw", `${SUBRESOURCES}/version`)).toContain("gitVersion");
      // Who configures it by KubeVirt's object sees that it is heard.
      const kind = ["-n", "trine-system", "wait", "--timeout=60s", "--for"];
      await kubectl.run(...kind, "jsonpath={.status.phase}=Deployed", "kubevirt/kubevirt");
      await kubectl.run(...kind, "jsonpath={.status.phase}=Deployed", "cdi/cdi");
    },
    LONG_MS,
  );

  test("gives users of the default roles their rights to machines", async () => {
    const { kubectl } = cluster;
    for (const role of ["view", "edit"]) {
      await kubectl.run("create", "rolebinding", role, `--clusterrole=${role}`, `--user=${role}`);
    }
    const may = (user: string, verb: string, group: string, resource: string) => {
      const [name = "", subresource = ""] = resource.split("/");
      const resourceAttributes = { namespace: "default", verb, group, resource: name, subresource };
      const review = {
        apiVersion: "authorization.k8s.io/v1",
        kind: "SubjectAccessReview",
        spec: { user, resourceAttributes },
      };
      const how = ["create", "-f", "-", "-o", "jsonpath={.status.allowed}"];
      return kubectl.runWith(JSON.stringify(review), ...how);
    };
    const machines = ["kubevirt.io", "virtualmachines"] as const;
    const console = ["subresources.kubevirt.io", "virtualmachineinstances/console"] as const;
    await pollUntil("roles are aggregated", { ms: 60_000, everyMs: 250 }, async () => {
      return (await may("edit", "create", ...machines)) === "true" || undefined;
    });
    expect(await may("view", "list", ...machines)).toBe("true");
    expect(await may("view", "create", ...machines)).toBe("false");
    expect(await may("view", "get", ...console)).toBe("false");
    expect(await may("edit", "get", ...console)).toBe("true");
    expect(await may("nobody", "list", ...machines)).toBe("false");
  });

  test(
    "is not taken back under machines, and wholly when they may go, with its program dead",
    async () => {
      const { kubectl } = cluster;
      await kubectl.apply(VM);
      await kubectl.until<Held>("the machine is held", ["vm", "held"], ({ metadata }) =>
        (metadata.finalizers ?? []).includes("kubevirt.io/virtualMachineControllerFinalize"),
      );
      await expect(trine("uninstall", "--cluster")).rejects.toThrow("there are 1 virtualmachines");
      await kubectl.run("-n", "trine-system", "scale", "deployment/trine-control", "--replicas=0");
      await kubectl.run("-n", "trine-system", "wait", "--for=delete", "pod", ...CONTROL);
      const { stdout } = await trine("uninstall", "--cluster", "--remove-machines");
      expect(stdout).toContain("release virtualmachines.kubevirt.io/held in default");
      expect(await left()).toEqual([]);
      expect((await trine("uninstall", "--cluster")).stdout).toBe("");
    },
    LONG_MS,
  );

  test(
    "what kubectl has applied is taken back too",
    async () => {
      const { kubectl } = cluster;
      await kubectl.run("apply", "--server-side", "-k", join(DEPLOY, "cluster"));
      await kubectl.run("wait", "--for=condition=Established", "--timeout=60s", "crd", ...OURS);
      // Its webhooks are there as soon as it serves: by then the API server has to reach it.
      const apis = ["wait", "--timeout=300s", "apiservice/v1.subresources.kubevirt.io"];
      await kubectl.run(...apis, "--for=create");
      await kubectl.run(...apis, "--for=condition=Available");
      await kubectl.run("apply", "--server-side", "-k", join(DEPLOY, "defaults"));
      expect((await left()).length).toBeGreaterThan(50);
      await trine("uninstall", "--cluster");
      expect(await left()).toEqual([]);
    },
    LONG_MS,
  );
});

const OLD = {
  apiVersion: "v1",
  kind: "ServiceAccount",
  metadata: {
    namespace: "trine-system",
    name: "old-helper",
    labels: { "app.kubernetes.io/part-of": "trine" },
    annotations: { "trine.dev/installed": "trine-system/old-helper" },
  },
};
const CONTROL = ["-l", "app.kubernetes.io/name=trine-control"];
const SUBRESOURCES = "/apis/subresources.kubevirt.io/v1";

interface Pods {
  readonly items: readonly {
    readonly spec: {
      readonly securityContext: object;
      readonly containers: readonly {
        readonly securityContext: { readonly readOnlyRootFilesystem: boolean };
      }[];
    };
    readonly status: { readonly podIP?: string };
  }[];
}

interface Held {
  readonly metadata: { readonly name: string; readonly finalizers?: readonly string[] };
}

const VM = {
  apiVersion: "kubevirt.io/v1",
  kind: "VirtualMachine",
  metadata: { name: "held", namespace: "default" },
  spec: {
    runStrategy: "Halted",
    template: {
      spec: {
        domain: {
          devices: { disks: [{ name: "root", disk: { bus: "virtio" } }] },
          memory: { guest: "64Mi" },
        },
        volumes: [{ name: "root", containerDisk: { image: "trine.test/tiny-guest:1" } }],
      },
    },
  },
};

interface Named {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
}

function sorted(text: string): readonly Named[] {
  const objects = parseAllDocuments(text).map((each) => each.toJS() as Named);
  const key = ({ kind, metadata }: Named): string =>
    `${kind} ${metadata.namespace ?? ""} ${metadata.name}`;
  return objects.sort((a, b) => (key(a) < key(b) ? -1 : 1));
}

/** What kube-proxy does, for two Services: the API server's for pods, and the control plane's for the API server. */
class Services {
  readonly #cluster: KubeCluster;
  readonly #table: string;
  readonly #stop = new AbortController();
  #ran: Promise<void> = Promise.resolve();

  private constructor(cluster: KubeCluster) {
    this.#cluster = cluster;
    this.#table = `trine_${cluster.node.containerd.bridge.name}`;
  }

  static async start(cluster: KubeCluster): Promise<Services> {
    const services = new Services(cluster);
    await services.#write([]);
    services.#ran = services.#follow();
    return services;
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#ran;
    await runCommand("nft", ["delete", "table", "ip", this.#table]);
  }

  async #follow(): Promise<void> {
    let written = "";
    await pollUntil("the end", { ms: 3_600_000, everyMs: 500 }, async () => {
      const rules = await this.#rules().catch(() => []);
      if (rules.join() !== written) await this.#write(rules);
      written = rules.join();
      return this.#stop.signal.aborted || undefined;
    });
  }

  async #rules(): Promise<string[]> {
    const words = ["-n", "trine-system", "trine-virt-api"];
    const { kubectl } = this.#cluster;
    const { spec } = await kubectl.get<{ spec: { clusterIP: string } }>("service", ...words);
    const { subsets = [] } = await kubectl.get<{ subsets?: { addresses?: { ip: string }[] }[] }>(
      "endpoints",
      ...words,
    );
    const [pod] = subsets.flatMap(({ addresses = [] }) => addresses);
    if (pod === undefined) return [];
    return [`ip daddr ${spec.clusterIP} tcp dport 443 dnat to ${pod.ip}:8443`];
  }

  async #write(output: readonly string[]): Promise<void> {
    const { bridge } = this.#cluster.node.containerd;
    const server = new URL(this.#cluster.plane.server);
    const nat = (hook: string, rules: readonly string[]): string =>
      `chain ${hook} { type nat hook ${hook} priority -100; ${rules.map((rule) => `${rule}; `).join("")}}`;
    const pods = `iifname "${bridge.name}" ip daddr 10.96.0.1 tcp dport 443 dnat to ${server.host}`;
    const table = `table ip ${this.#table}`;
    const text = `${table} {}\ndelete ${table}\n${table} {\n${nat("prerouting", [pods])}\n${nat("output", output)}\n}\n`;
    await runCommand("nft", ["-f", "-"], { input: text });
  }
}
