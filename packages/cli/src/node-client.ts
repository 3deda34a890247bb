import { request } from "node:http";
import { join } from "node:path";
import { TrineError } from "@trine/base";
import type { PodSummary } from "@trine/engine";

const MAX_BODY_BYTES = 16 * 1024 * 1024;
const TIMEOUT_MS = 10_000;

/** The node daemon's API on its unix socket. Kind `unavailable` when the daemon does not answer. */
export class NodeClient {
  readonly #socketPath: string;

  constructor(stateDir: string) {
    this.#socketPath = join(stateDir, "api.sock");
  }

  async pods(): Promise<readonly PodSummary[]> {
    const { body } = await this.#get("/v1/pods");
    return (JSON.parse(body) as { items: PodSummary[] }).items;
  }

  /** The pod named NAME, NAMESPACE/NAME, or by a unique prefix of its sandbox or container id. */
  async pod(name: string): Promise<PodSummary> {
    const pods = await this.pods();
    const exact = pods.filter((p) => p.name === name || `${p.podNamespace}/${p.name}` === name);
    const found =
      exact.length > 0
        ? exact
        : pods.filter(
            (p) => p.sandboxId.startsWith(name) || p.machine?.containerId.startsWith(name) === true,
          );
    const [pod, second] = found;
    if (pod === undefined) {
      throw new TrineError("notFound", `no pod ${name} on this node; \`trine ps\` lists them`);
    }
    if (second !== undefined) {
      const names = found.map((p) => `${p.podNamespace}/${p.name}`).join(", ");
      throw new TrineError("conflict", `${name} is not one pod: ${names}`);
    }
    return pod;
  }

  /** Status and text of a probe such as /readyz. */
  async probe(path: string): Promise<{ ok: boolean; text: string }> {
    const { status, body } = await this.#get(path);
    return { ok: status === 200, text: body.trim() };
  }

  #get(path: string): Promise<{ status: number; body: string }> {
    return new Promise((resolve, reject) => {
      const fail = (cause: Error): void => {
        reject(
          new TrineError(
            "unavailable",
            `the node daemon does not answer at ${this.#socketPath} (${cause.message}): is trined running? see \`trine doctor\``,
            { cause },
          ),
        );
      };
      const sent = request(
        { socketPath: this.#socketPath, path, timeout: TIMEOUT_MS },
        (answer) => {
          const chunks: Buffer[] = [];
          let size = 0;
          answer.on("data", (chunk: Buffer) => {
            size += chunk.length;
            if (size > MAX_BODY_BYTES) answer.destroy(new Error("the answer is too long"));
            chunks.push(chunk);
          });
          answer.on("error", fail);
          answer.on("end", () => {
            resolve({
              status: answer.statusCode ?? 0,
              body: Buffer.concat(chunks).toString("utf8"),
            });
          });
        },
      );
      sent.on("error", fail);
      sent.on("timeout", () => sent.destroy(new Error(`no answer within ${TIMEOUT_MS} ms`)));
      sent.end();
    });
  }
}
