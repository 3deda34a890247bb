import { readFile } from "node:fs/promises";
import { Agent, request } from "node:https";
import { type KubeControlPlane, answerOf } from "@trine/testkit";

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

  async call(
    method: string,
    path: string,
    body?: unknown,
    accept = "application/json",
    type = "application/json",
  ): Promise<Answer> {
    const headers = { accept, "content-type": type };
    const sent = request(`${this.#server}${path}`, { method, headers, agent: this.#agent });
    const answered = answerOf(sent, 30_000);
    sent.end(body === undefined ? undefined : JSON.stringify(body));
    const { code, headers: told, text } = await answered;
    const warnings = told["warning"] ?? "";
    return {
      code,
      body: JSON.parse(text) as Answer["body"],
      warnings: warnings === "" ? [] : [warnings],
    };
  }

  close(): void {
    this.#agent.destroy();
  }
}
