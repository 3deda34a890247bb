import { TrineError } from "@trine/base";
import type { VirtctlAnswer, VirtctlClient } from "./virtctl-client.ts";

const KUBEVIRT = "/apis/kubevirt.io/v1";
const EXPORTS = "/apis/export.kubevirt.io/v1";
const JSON_BODY = { "content-type": "application/json" };
const JSON_PATCH = { "content-type": "application/json-patch+json" };

interface Read {
  readonly metadata: { readonly name: string; readonly uid: string; readonly namespace?: string };
  readonly kind?: string;
  readonly spec?: {
    readonly template?: { readonly spec?: { readonly accessCredentials?: unknown } };
  };
  readonly status?: { readonly phase?: string };
}

/** The commands of virtctl 1.9 that read and write objects: their requests in their order. */
export class VirtctlObjects {
  readonly #client: VirtctlClient;
  readonly #namespace: string;

  constructor(client: VirtctlClient, namespace: string) {
    this.#client = client;
    this.#namespace = namespace;
  }

  /** Deletes the first migration of the machine that has not ended; undefined where there is none. */
  async migrateCancel(name: string): Promise<VirtctlAnswer | undefined> {
    const path = this.#path("virtualmachineinstancemigrations");
    const selector = encodeURIComponent(`kubevirt.io/vmi-name==${name}`);
    const list = await this.#read(`${path}?labelSelector=${selector}`);
    const { items } = list as unknown as { items: readonly Read[] };
    const running = items.find(
      ({ status }) => !["Succeeded", "Failed"].includes(status?.phase ?? ""),
    );
    if (running === undefined) return undefined;
    const options = { kind: "DeleteOptions", apiVersion: "kubevirt.io/v1" };
    return this.#client.send("DELETE", `${path}/${running.metadata.name}`, options, JSON_BODY);
  }

  /** A Service whose owner is the machine, and that selects its pod. */
  async expose(
    plural: "virtualmachines" | "virtualmachineinstances",
    name: string,
    port: number,
  ): Promise<VirtctlAnswer> {
    const { metadata } = await this.#read(this.#path(plural, name));
    const kind = plural === "virtualmachines" ? "VirtualMachine" : "VirtualMachineInstance";
    const owner = { apiVersion: "kubevirt.io/v1", kind, name, uid: metadata.uid };
    const service = {
      apiVersion: "v1",
      kind: "Service",
      metadata: { name: `${name}-svc`, ownerReferences: [owner] },
      spec: {
        ports: [{ protocol: "TCP", port, targetPort: "" }],
        selector: { "vmi.kubevirt.io/id": name },
      },
    };
    const path = `/api/v1/namespaces/${this.#namespace}/services`;
    return this.#client.send("POST", path, service, JSON_BODY);
  }

  /** A Secret with the key, and the machine that is to have it. */
  async addSshKey(name: string, key: string): Promise<VirtctlAnswer> {
    const path = this.#path("virtualmachines", name);
    const { spec } = await this.#read(path);
    const secret = {
      apiVersion: "v1",
      kind: "Secret",
      metadata: { name: `${name}-ssh-key` },
      data: { key: Buffer.from(key).toString("base64") },
    };
    const secrets = `/api/v1/namespaces/${this.#namespace}/secrets`;
    const made = await this.#client.send("POST", secrets, secret, JSON_BODY);
    if (made.code !== 201) return made;
    const at = "/spec/template/spec/accessCredentials";
    const credential = {
      sshPublicKey: {
        source: { secret: { secretName: `${name}-ssh-key` } },
        propagationMethod: { qemuGuestAgent: { users: ["root"] } },
      },
    };
    const isFirst = spec?.template?.spec?.accessCredentials === undefined;
    const patch = isFirst
      ? [
          { op: "test", path: at, value: null },
          { op: "add", path: at, value: [credential] },
        ]
      : [{ op: "add", path: `${at}/-`, value: credential }];
    return this.#client.send("PATCH", path, patch, JSON_PATCH);
  }

  /** Asks for the machine's disks to be given out; what fetches them is not here. */
  async vmExport(name: string): Promise<VirtctlAnswer> {
    const path = `${EXPORTS}/namespaces/${this.#namespace}/virtualmachineexports`;
    await this.#client.send("GET", `${path}/${name}-export`);
    const wanted = {
      apiVersion: "export.kubevirt.io/v1",
      kind: "VirtualMachineExport",
      metadata: { name: `${name}-export` },
      spec: {
        source: { apiGroup: "kubevirt.io", kind: "VirtualMachine", name },
        tokenSecretRef: `secret-${name}-export`,
      },
    };
    return this.#client.send("POST", path, wanted, JSON_BODY);
  }

  permittedDevices(): Promise<VirtctlAnswer> {
    return this.#client.send("GET", this.#path("kubevirts"));
  }

  /** `adm log-verbosity`: there has to be one KubeVirt object. */
  async logVerbosity(level: number): Promise<VirtctlAnswer> {
    const list = await this.#read(`${KUBEVIRT}/kubevirts`);
    const { items } = list as unknown as { items: readonly Read[] };
    const [one] = items;
    if (one === undefined || items.length > 1) {
      throw new TrineError("notFound", `there are ${items.length} KubeVirt objects, not one`);
    }
    const { namespace = "", name } = one.metadata;
    const path = `${KUBEVIRT}/namespaces/${namespace}/kubevirts/${name}`;
    await this.#read(path);
    const at = "/spec/configuration/developerConfiguration";
    const patch = [{ op: "add", path: at, value: { logVerbosity: { virtAPI: level } } }];
    return this.#client.send("PATCH", path, patch, JSON_PATCH);
  }

  #path(plural: string, name?: string): string {
    const path = `${KUBEVIRT}/namespaces/${this.#namespace}/${plural}`;
    return name === undefined ? path : `${path}/${name}`;
  }

  async #read(path: string): Promise<Read> {
    const { code, text } = await this.#client.send("GET", path);
    if (code !== 200) throw new TrineError("notFound", `${path}: ${code}: ${text}`);
    return JSON.parse(text) as Read;
  }
}
