import { readFile } from "node:fs/promises";
import { Agent, request } from "node:https";
import type { KubeControlPlane } from "@trine/testkit";

export interface Answer {
  readonly code: number;
  readonly body: Readonly<Record<string, unknown>>;
  readonly warnings: readonly string[];
}

/** The API server over HTTPS, as a user who may do everything, or as another. */
export class KubeRest {
  readonly #server: string;
  readonly #agent: Agent;

  private constructor(server: string, agent: Agent) {
    this.#server = server;
    this.#agent = agent;
  }

  static async connect(
    { authority, server }: KubeControlPlane,
    subject: { user: string; group?: string } = { user: "rest", group: "system:masters" },
  ): Promise<KubeRest> {
    const pair = await authority.sign(subject.user.replaceAll(":", "-"), subject);
    const [ca, cert, key] = await Promise.all(
      [authority.cert, pair.cert, pair.key].map((path) => readFile(path)),
    );
    return new KubeRest(server, new Agent({ ca, cert, key, keepAlive: true }));
  }

  call(
    method: string,
    path: string,
    body?: unknown,
    accept = "application/json",
    type = "application/json",
  ): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const headers = { accept, "content-type": type };
      const sent = request(`${this.#server}${path}`, { method, headers, agent: this.#agent });
      sent.setTimeout(30_000, () =>
        sent.destroy(new Error(`${method} ${path}: no answer in 30 s`)),
      );
      sent.on("error", reject);
      sent.on("response", (response) => {
        const chunks: Buffer[] = [];
        response.on("data", (chunk: Buffer) => chunks.push(chunk));
        response.on("error", reject);
        response.on("end", () => {
          const text = Buffer.concat(chunks).toString();
          const warnings = response.headers["warning"] ?? "";
          resolve({
            code: response.statusCode ?? 0,
            body: JSON.parse(text) as Answer["body"],
            warnings: warnings === "" ? [] : [warnings],
          });
        });
      });
      sent.end(body === undefined ? undefined : JSON.stringify(body));
    });
  }

  close(): void {
    this.#agent.destroy();
  }
}
