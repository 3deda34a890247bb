import { readFile } from "node:fs/promises";
import { Agent, request } from "node:https";
import { TrineError, pollUntil } from "@trine/base";
import { WebSocket } from "ws";
import { answerOf } from "./answer-of.ts";
import type { HttpAnswer } from "./answer-of.ts";
import type { Subject } from "./kube-certificates.ts";
import type { KubeControlPlane } from "./kube-control-plane.ts";

/** PEM each. */
export interface ClientIdentity {
  readonly ca: Buffer;
  readonly cert: Buffer;
  readonly key: Buffer;
}

export type VirtctlAnswer = HttpAnswer;

type Kind = "virtualmachines" | "virtualmachineinstances";

const BASE = "/apis/subresources.kubevirt.io/v1";
const OBJECTS = "/apis/kubevirt.io/v1";
const ACCEPT = "application/json, */*";
const ANSWER_MS = 30_000;

/**
 * Makes the requests that virtctl of KubeVirt 1.9 makes, command by command: the same methods, paths, headers and
 * bodies in the same order. What a command does with files, terminals and other programs is not here.
 */
export class VirtctlClient {
  /** `METHOD path` of every request so far. */
  readonly asked: string[] = [];
  readonly #server: string;
  readonly #namespace: string;
  readonly #identity: ClientIdentity;
  readonly #agent: Agent;

  constructor(of: { server: string; namespace: string; identity: ClientIdentity }) {
    this.#server = of.server;
    this.#namespace = of.namespace;
    this.#identity = of.identity;
    this.#agent = new Agent({ ...of.identity, keepAlive: true });
  }

  /** In namespace `default`, as a user of the test's authority: one who may do everything, or another. */
  static async as(
    { authority, server }: KubeControlPlane,
    subject: Subject = { user: "virtctl", group: "system:masters" },
  ): Promise<VirtctlClient> {
    const pair = await authority.sign(`virtctl-${subject.user}`, subject);
    const [ca = Buffer.of(), cert = Buffer.of(), key = Buffer.of()] = await Promise.all(
      [authority.cert, pair.cert, pair.key].map((path) => readFile(path)),
    );
    return new VirtctlClient({ server, namespace: "default", identity: { ca, cert, key } });
  }

  start(
    name: string,
    options: { paused?: boolean; dryRun?: boolean } = {},
  ): Promise<VirtctlAnswer> {
    const dryRun = options.dryRun === true ? { dryRun: ["All"] } : {};
    const paused = options.paused === true ? { paused: true } : {};
    return this.#put("virtualmachines", name, "start", { ...paused, ...dryRun });
  }

  stop(name: string, options: { force?: boolean } = {}): Promise<VirtctlAnswer> {
    return this.#put("virtualmachines", name, "stop", options.force ? { gracePeriod: 0 } : {});
  }

  restart(name: string, options: { force?: boolean } = {}): Promise<VirtctlAnswer> {
    const body = options.force ? { gracePeriodSeconds: 0 } : {};
    return this.#put("virtualmachines", name, "restart", body);
  }

  migrate(name: string): Promise<VirtctlAnswer> {
    return this.#put("virtualmachines", name, "migrate", {});
  }

  async pauseVm(name: string, verb: "pause" | "unpause"): Promise<VirtctlAnswer> {
    await this.#object("virtualmachines", name);
    return this.#put("virtualmachineinstances", name, verb, {});
  }

  softReboot(name: string): Promise<VirtctlAnswer> {
    return this.#put("virtualmachineinstances", name, "softreboot");
  }

  reset(name: string): Promise<VirtctlAnswer> {
    return this.#put("virtualmachineinstances", name, "reset");
  }

  guest(name: string, what: "guestosinfo" | "userlist" | "filesystemlist"): Promise<VirtctlAnswer> {
    return this.send("GET", this.#path("virtualmachineinstances", name, what));
  }

  screenshot(name: string): Promise<VirtctlAnswer> {
    const path = this.#path("virtualmachineinstances", name, "vnc/screenshot");
    return this.send("GET", `${path}?moveCursor=false`);
  }

  expandVm(name: string): Promise<VirtctlAnswer> {
    return this.send("GET", this.#path("virtualmachines", name, "expand-spec"));
  }

  expandFile(machine: object): Promise<VirtctlAnswer> {
    const path = `${BASE}/namespaces/${this.#namespace}/expand-vm-spec`;
    return this.send("PUT", path, machine, { "content-type": "application/json" });
  }

  /** A GET that has a body, as the command does it. */
  objectGraph(name: string): Promise<VirtctlAnswer> {
    const path = this.#path("virtualmachines", name, "objectgraph");
    return this.send("GET", path, { includeOptionalNodes: true });
  }

  async evacuateCancel(name: string): Promise<VirtctlAnswer> {
    const { status } = await this.#object("virtualmachineinstances", name);
    const options = { evacuationNodeName: status?.nodeName ?? "" };
    return this.#put("virtualmachineinstances", name, "evacuate/cancel", options);
  }

  /** Finds out first what is meant by the volume's name. */
  async addVolume(name: string, volume: string): Promise<VirtctlAnswer> {
    const path = `/apis/cdi.kubevirt.io/v1beta1/namespaces/${this.#namespace}/datavolumes/${volume}`;
    const isData = (await this.send("GET", path)).code === 200;
    const claim = `/api/v1/namespaces/${this.#namespace}/persistentvolumeclaims/${volume}`;
    if (!isData) await this.send("GET", claim);
    const volumeSource = isData
      ? { dataVolume: { name: volume, hotpluggable: true } }
      : { persistentVolumeClaim: { claimName: volume, hotpluggable: true } };
    const disk = { disk: { bus: "scsi" }, serial: volume };
    return this.#putOrInstance(name, "addvolume", { name: volume, disk, volumeSource });
  }

  removeVolume(name: string, volume: string): Promise<VirtctlAnswer> {
    return this.#putOrInstance(name, "removevolume", { name: volume });
  }

  memoryDump(name: string, claimName: string): Promise<VirtctlAnswer> {
    return this.#put("virtualmachines", name, "memorydump", { claimName, phase: "" });
  }

  removeMemoryDump(name: string): Promise<VirtctlAnswer> {
    return this.#put("virtualmachines", name, "removememorydump");
  }

  usbRedirection(name: string): Promise<WebSocket> {
    return this.#stream(this.#path("virtualmachineinstances", name, "usbredir"));
  }

  /** Of `version` and `guestfs`: first which version is preferred. */
  async info(what: "version" | "guestfs"): Promise<VirtctlAnswer> {
    const group = await this.send("GET", "/apis/subresources.kubevirt.io");
    const { preferredVersion } = JSON.parse(group.text) as {
      preferredVersion: { groupVersion: string };
    };
    return this.send("GET", `/apis/${preferredVersion.groupVersion}/${what}`);
  }

  /** Asks each second while the machine does not run yet (400), and gives up at once after anything else. */
  async console(name: string, ms: number): Promise<WebSocket> {
    const path = this.#path("virtualmachineinstances", name, "console");
    return pollUntil(`console of ${name}`, { ms, everyMs: 1_000 }, () =>
      this.#stream(path).catch((cause: unknown) => {
        if (cause instanceof TrineError && cause.kind === "malformed") return undefined;
        throw cause;
      }),
    );
  }

  vnc(name: string, preserveSession = false): Promise<WebSocket> {
    const path = this.#path("virtualmachineinstances", name, "vnc");
    return this.#stream(`${path}?preserveSession=${preserveSession}`);
  }

  portForward(kind: Kind, name: string, port: number, protocol: "tcp" | "udp"): Promise<WebSocket> {
    return this.#stream(this.#path(kind, name, `portforward/${port}/${protocol}`));
  }

  close(): void {
    this.#agent.destroy();
  }

  #path(kind: Kind, name: string, subresource: string): string {
    return `${BASE}/namespaces/${this.#namespace}/${kind}/${name}/${subresource}`;
  }

  async #object(
    kind: Kind,
    name: string,
  ): Promise<{ readonly status?: { readonly nodeName?: string } }> {
    const path = `${OBJECTS}/namespaces/${this.#namespace}/${kind}/${name}`;
    const { code, text } = await this.send("GET", path);
    if (code !== 200) throw new TrineError("notFound", `${path}: ${code}: ${text}`);
    return JSON.parse(text) as { status?: { nodeName?: string } };
  }

  /** No Content-Type: virtctl sends none. */
  #put(kind: Kind, name: string, verb: string, body?: object): Promise<VirtctlAnswer> {
    return this.send("PUT", this.#path(kind, name, verb), body);
  }

  /** Of a machine; of its instance where there is no machine of the name. */
  async #putOrInstance(name: string, verb: string, body: object): Promise<VirtctlAnswer> {
    const answer = await this.#put("virtualmachines", name, verb, body);
    return answer.code === 404 ? this.#put("virtualmachineinstances", name, verb, body) : answer;
  }

  /** One request, as its command makes it. */
  send(
    method: string,
    path: string,
    body?: object,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<VirtctlAnswer> {
    this.asked.push(`${method} ${path}`);
    const text = body === undefined ? "" : JSON.stringify(body);
    const length = { "content-length": String(Buffer.byteLength(text)) };
    const sent = request(`${this.#server}${path}`, {
      method,
      agent: this.#agent,
      headers: { accept: ACCEPT, ...length, ...headers },
    });
    const answer = answerOf(sent, ANSWER_MS);
    sent.end(text);
    return answer;
  }

  /** Kind `malformed` where it is refused with 400, `wrongState` with anything else; the message has the answer. */
  #stream(path: string): Promise<WebSocket> {
    this.asked.push(`GET ${path}`);
    const url = `${this.#server.replace(/^https/, "wss")}${path}`;
    const client = new WebSocket(url, ["plain.kubevirt.io"], {
      ...this.#identity,
      perMessageDeflate: false,
      handshakeTimeout: ANSWER_MS,
    });
    return new Promise((resolve, reject) => {
      client.once("open", () => {
        resolve(client);
      });
      client.once("error", reject);
      client.once("unexpected-response", (_, response) => {
        const code = response.statusCode ?? 0;
        const chunks: Buffer[] = [];
        response.on("data", (chunk: Buffer) => chunks.push(chunk));
        response.on("end", () => {
          const kind = code === 400 ? "malformed" : "wrongState";
          reject(new TrineError(kind, `${code}: ${Buffer.concat(chunks).toString()}`));
        });
      });
    });
  }
}
