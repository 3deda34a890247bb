// virt-api behind the real API server: aggregated, with its webhooks, and a node's door behind it.
import { randomUUID } from "node:crypto";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Undo } from "@trine/base";
import { KubeClient, readKubeconfig } from "@trine/kube-client";
import { KINDS, crdName } from "@trine/kube-types";
import { openDoor } from "@trine/node-door";
import { KubeControlPlane, VirtctlClient, kubeBinaries } from "@trine/testkit";
import {
  type ServingCertificate,
  type VirtApi,
  apiServices,
  serveVirtApi,
  webhookConfigurations,
} from "@trine/virt-api";
import { SYSTEM, testSettings } from "@trine/virt-api/testing";
import { NodeDoorTwin } from "./node-door-twin.ts";

const CRDS = join(import.meta.dirname, "../deploy/crds");
const SERVICE = { namespace: "trine-system", name: "virt-api" };
/** What a component test of virt-api works on. */
export interface VirtApiUnderTest {
  readonly plane: KubeControlPlane;
  readonly api: VirtApi;
  readonly door: NodeDoorTwin;
  /** As the control plane itself. */
  readonly system: KubeClient;
  serving(name: string): Promise<ServingCertificate>;
  virtctl(user: string, group?: string): Promise<VirtctlClient>;
  stop(): Promise<void>;
}

export async function startVirtApi(): Promise<VirtApiUnderTest> {
  const undo = new Undo();
  const dir = await mkdtemp(join(tmpdir(), "trine-virt-api-"));
  undo.defer("files", () => rm(dir, { recursive: true, force: true }));
  try {
    const binaries = await kubeBinaries();
    const address = "127.0.0.1";
    const plane = await KubeControlPlane.start({ dir, binaries, address, apiOnly: true });
    undo.defer("control plane", () => plane.stop());
    const door = await NodeDoorTwin.start(plane);
    undo.defer("door", () => door.stop());
    const config = await plane.authority.kubeconfig("system", plane.server, {
      user: SYSTEM,
      group: "system:masters",
    });
    const system = new KubeClient(await readKubeconfig(config));
    undo.defer("client", () => {
      system.close();
      return Promise.resolve();
    });
    const serving = (name: string): Promise<ServingCertificate> => servingOf(plane, name);
    const api = await serve(plane, door, system, await serving("virt-api"));
    undo.defer("virt-api", () => api.close());
    await register(plane, api);
    return {
      plane,
      api,
      door,
      system,
      serving,
      virtctl: (user, group) =>
        VirtctlClient.as(plane, { user, ...(group !== undefined && { group }) }),
      stop: () => undone(undo),
    };
  } catch (cause) {
    await undone(undo);
    throw cause;
  }
}

async function undone(undo: Undo): Promise<void> {
  const left = await undo.run();
  if (left.length > 0)
    throw new AggregateError(
      left.map(({ cause }) => cause),
      "not cleared",
    );
}

async function servingOf(plane: KubeControlPlane, name: string): Promise<ServingCertificate> {
  const host = `${SERVICE.name}.${SERVICE.namespace}.svc`;
  const names = [host, "localhost"];
  const pair = await plane.authority.sign(name, { user: name, names, ips: ["127.0.0.1"] });
  return {
    certificate: await readFile(pair.cert, "utf8"),
    key: await readFile(pair.key, "utf8"),
  };
}

async function serve(
  plane: KubeControlPlane,
  door: NodeDoorTwin,
  kube: KubeClient,
  serving: ServingCertificate,
): Promise<VirtApi> {
  const pair = await plane.authority.sign("trine-virt-api", { user: "trine-virt-api" });
  const [authority, certificate, key] = await Promise.all(
    [plane.authority.cert, pair.cert, pair.key].map((path) => readFile(path, "utf8")),
  );
  const credentials = {
    authority: authority ?? "",
    certificate: certificate ?? "",
    key: key ?? "",
  };
  const { node, port } = door;
  const opened = openDoor({ node, host: "127.0.0.1", port, credentials: () => credentials });
  return serveVirtApi({
    kube,
    reviewer: kube,
    doorOf: () => Promise.resolve(opened),
    ...testSettings,
    inertFields: (spec, at) => (spec.domain.devices.gpus === undefined ? [] : [`${at}.gpus`]),
    uuid: randomUUID,
    now: () => new Date(),
    listen: "127.0.0.1:0",
    serving,
  });
}

/** Tells the API server of us, by a service that leads to this process. */
async function register(plane: KubeControlPlane, { port }: VirtApi): Promise<void> {
  const { kubectl } = plane;
  const authority = await readFile(plane.authority.cert, "utf8");
  const service = { ...SERVICE, port };
  await kubectl.run("apply", "--server-side", "-f", CRDS);
  await kubectl.apply(
    { apiVersion: "v1", kind: "Namespace", metadata: { name: SERVICE.namespace } },
    // Pods are refused without it, and no controller makes it here.
    {
      apiVersion: "v1",
      kind: "ServiceAccount",
      metadata: { name: "default", namespace: "default" },
    },
    {
      apiVersion: "v1",
      kind: "Service",
      metadata: SERVICE,
      spec: { type: "ExternalName", externalName: "127.0.0.1" },
    },
    ...apiServices({ service, authority }),
    ...webhookConfigurations({ at: service, authority, account: SYSTEM }),
  );
  const established = KINDS.map((kind) => `crd/${crdName(kind)}`);
  await kubectl.run("wait", "--for=condition=Established", "--timeout=60s", ...established);
  const versions = ["v1", "v1alpha3"].map((version) => `${version}.subresources.kubevirt.io`);
  await kubectl.run(
    "wait",
    "--for=condition=Available",
    "--timeout=60s",
    "apiservices",
    ...versions,
  );
}
