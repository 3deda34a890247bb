import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { KINDS, type VirtualMachine, crdName } from "@trine/kube-types";
import { DIST, type KubeControlPlane } from "@trine/testkit";

const ROOT = join(import.meta.dirname, "..");
const NAMESPACE = "trine-system";

/** A machine that starts as soon as it is there. */
export function machine(name: string): VirtualMachine {
  const disk = { name: "root", disk: { bus: "virtio" } };
  return {
    metadata: { namespace: "default", name },
    spec: {
      runStrategy: "Always",
      template: {
        metadata: { labels: { app: "bench" } },
        spec: {
          domain: { memory: { guest: "64Mi" }, devices: { disks: [disk] } },
          volumes: [{ name: "root", containerDisk: { image: "disks/any:1" } }],
        },
      },
    },
  };
}

/** Our kinds and rights, and a Service that leads to this host. */
export async function install({ kubectl }: KubeControlPlane, port: number): Promise<void> {
  await kubectl.run("apply", "--server-side", "-f", join(ROOT, "deploy/crds"));
  const crds = KINDS.map((kind) => `crd/${crdName(kind)}`);
  await kubectl.run("wait", "--for=condition=Established", "--timeout=120s", ...crds);
  await kubectl.run("apply", "-f", join(ROOT, "deploy/kubernetes/runtimeclasses.yaml"));
  await kubectl.run("apply", "-k", join(ROOT, "deploy/control-plane"));
  await kubectl.run("-n", NAMESPACE, "delete", "service", "trine-virt-api");
  await kubectl.apply(
    {
      apiVersion: "v1",
      kind: "Service",
      metadata: { namespace: NAMESPACE, name: "trine-virt-api" },
      spec: { type: "ExternalName", externalName: "127.0.0.1", ports: [{ port }] },
    },
    // Pods are refused without it, and no controller makes it here.
    {
      apiVersion: "v1",
      kind: "ServiceAccount",
      metadata: { namespace: "default", name: "default" },
    },
  );
}

/** The program as it ships, with the rights of its account and no others. */
export async function command(
  plane: KubeControlPlane,
  of: {
    readonly dir: string;
    /** Ports. */
    readonly api: number;
    readonly health: number;
    readonly role?: "controllers" | "api" | "all";
    /** Where it finds the API server, if not at its own address. */
    readonly server?: string;
  },
): Promise<readonly string[]> {
  const { api, health, role = "all", server = plane.server } = of;
  const words = ["-n", NAMESPACE, "create", "token", "trine-control", "--duration=4h"];
  const token = (await plane.kubectl.run(...words)).trim();
  const authority = (await readFile(plane.authority.cert)).toString("base64");
  const cluster = { server, "certificate-authority-data": authority };
  const config = {
    ...{ apiVersion: "v1", kind: "Config", "current-context": "c" },
    clusters: [{ name: "c", cluster }],
    users: [{ name: "c", user: { token } }],
    contexts: [{ name: "c", context: { cluster: "c", user: "c" } }],
  };
  const kubeconfig = join(of.dir, `account-${role}.yaml`);
  await writeFile(kubeconfig, JSON.stringify(config), { mode: 0o600 });
  return [
    // As its image has it.
    ...["env", "MALLOC_ARENA_MAX=2", process.execPath],
    ...[join(DIST, "trine-control.mjs"), "--role", role],
    ...["--kubeconfig", kubeconfig, "--health-listen", `127.0.0.1:${health}`],
    ...["--api-listen", `127.0.0.1:${api}`, "--service-port", String(api), "--log-level", "warn"],
    ...["--upload-listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"],
  ];
}
