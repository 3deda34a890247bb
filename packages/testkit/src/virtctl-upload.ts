import { request } from "node:https";
import { TrineError, pollUntil } from "@trine/base";
import { answerOf } from "./answer-of.ts";
import type { VirtctlAnswer, VirtctlClient } from "./virtctl-client.ts";

const VOLUMES = "/apis/cdi.kubevirt.io/v1beta1";
const TOKENS = "/apis/upload.cdi.kubevirt.io/v1beta1";
const JSON_BODY = { "content-type": "application/json" };
const TARGET = "cdi.kubevirt.io/storage.upload.target";
const READY = "cdi.kubevirt.io/storage.pod.ready";
const PHASE = "cdi.kubevirt.io/storage.pod.phase";

interface Read {
  readonly metadata: { readonly annotations?: Readonly<Record<string, string>> };
  readonly status?: { readonly phase?: string; readonly token?: string };
}

interface Upload {
  readonly namespace: string;
  readonly name: string;
  readonly size: string;
  readonly storageClass: string;
  /** Of the upload proxy, as `--uploadproxy-url` says it; `--insecure` is said too. */
  readonly proxy: string;
  readonly ms: number;
}

interface Sent {
  readonly path?: string;
  readonly method?: string;
  readonly type?: string;
  /** The connection is cut after so many bytes. */
  readonly cutAfter?: number;
}

/** `virtctl image-upload dv|pvc` of 1.9: its requests in their order. */
export class VirtctlUpload {
  readonly #client: VirtctlClient;
  readonly #of: Upload;

  constructor(client: VirtctlClient, of: Upload) {
    this.#client = client;
    this.#of = of;
  }

  /** Makes what is uploaded to, and waits until it may be. */
  async prepare(what: "dv" | "pvc"): Promise<void> {
    const { namespace, name, size, storageClass } = this.#of;
    await this.#client.send("GET", this.#claim());
    const known = `/apis/storage.k8s.io/v1/storageclasses/${storageClass}`;
    const { code, text } = await this.#client.send("GET", known);
    if (code !== 200) throw new TrineError("notFound", `${known}: ${code}: ${text}`);
    const resources = { requests: { storage: size } };
    if (what === "dv") {
      const storage = { storageClassName: storageClass, resources };
      await this.#made(`${VOLUMES}/namespaces/${namespace}/datavolumes`, {
        kind: "DataVolume",
        apiVersion: "cdi.kubevirt.io/v1beta1",
        metadata: { name },
        spec: { source: { upload: {} }, storage, contentType: "kubevirt" },
      });
      const path = `${VOLUMES}/namespaces/${namespace}/datavolumes/${name}`;
      await this.#until(path, "UploadReady", ({ status }) => status?.phase === "UploadReady");
      return;
    }
    await this.#made(`/api/v1/namespaces/${namespace}/persistentvolumeclaims`, {
      kind: "PersistentVolumeClaim",
      apiVersion: "v1",
      metadata: { name, annotations: { [TARGET]: "" } },
      spec: { accessModes: ["ReadWriteOnce"], storageClassName: storageClass, resources },
    });
    const isReady = ({ metadata }: Read): boolean => metadata.annotations?.[READY] === "true";
    await this.#until(this.#claim(), "ready", isReady);
  }

  async token(): Promise<string> {
    const { namespace, name } = this.#of;
    const path = `${TOKENS}/namespaces/${namespace}/uploadtokenrequests`;
    const kind = { kind: "UploadTokenRequest", apiVersion: "upload.cdi.kubevirt.io/v1beta1" };
    const metadata = { name: "token-for-virtctl", namespace };
    const read = await this.#made(path, { ...kind, metadata, spec: { pvcName: name } });
    return read.status?.token ?? "";
  }

  /** Where it is sent: the answer to HEAD says whether uploads may be asynchronous. */
  async path(token: string): Promise<string> {
    const path = "/v1beta1/upload-async";
    const { code } = await this.send(token, Buffer.of(), { method: "HEAD", path });
    return code === 200 ? path : "/v1beta1/upload";
  }

  /** Rejects where the connection ends before there is an answer. */
  send(token: string, bytes: Buffer, how: Sent = {}): Promise<VirtctlAnswer> {
    const { path = "/v1beta1/upload", method = "POST", type, cutAfter } = how;
    const sent = request(`${this.#of.proxy}${path}`, {
      method,
      agent: false,
      rejectUnauthorized: false,
      headers: {
        authorization: `Bearer ${token}`,
        "content-type": type ?? "application/octet-stream",
        "content-length": bytes.length,
      },
    });
    const answer = answerOf(sent, this.#of.ms);
    if (cutAfter === undefined) sent.end(bytes);
    else sent.write(bytes.subarray(0, cutAfter), () => sent.destroy());
    return answer;
  }

  /** Until the claim says that the disk is whole. */
  async finished(): Promise<void> {
    const isDone = ({ metadata }: Read): boolean => metadata.annotations?.[PHASE] === "Succeeded";
    await this.#until(this.#claim(), "Succeeded", isDone);
  }

  #claim(): string {
    const { namespace, name } = this.#of;
    return `/api/v1/namespaces/${namespace}/persistentvolumeclaims/${name}`;
  }

  async #made(path: string, object: object): Promise<Read> {
    const { code, text } = await this.#client.send("POST", path, object, JSON_BODY);
    if (code !== 201) throw new TrineError("internal", `POST ${path}: ${code}: ${text}`);
    return JSON.parse(text) as Read;
  }

  async #until(path: string, what: string, isSo: (object: Read) => boolean): Promise<void> {
    const options = { ms: this.#of.ms, everyMs: 500 };
    await pollUntil(`${path} is ${what}`, options, async () => {
      const { code, text } = await this.#client.send("GET", path);
      return code === 200 && isSo(JSON.parse(text) as Read) ? true : undefined;
    });
  }
}
