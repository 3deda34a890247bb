import { type Server, createServer } from "node:https";
import type { ServerResponse } from "node:http";
import { DEFAULT_PORT, type MachineReport } from "@trine/node-door";

/** A node's door: it tells of the machines of its pods to who watches. */
export class HollowDoor {
  readonly watchers = new Set<ServerResponse>();
  readonly #reports = new Map<string, MachineReport>();
  readonly #server: Server;

  constructor(tls: { cert: string; key: string; ca: string }) {
    this.#server = createServer(
      { ...tls, requestCert: true, minVersion: "TLSv1.3" },
      (_, response) => {
        response.writeHead(200, { "content-type": "application/json" });
        this.#write(response, { type: "state", items: [...this.#reports.values()] });
        const alive = setInterval(() => {
          this.#write(response, { type: "alive" });
        }, 5_000);
        this.watchers.add(response);
        response.on("close", () => {
          clearInterval(alive);
          this.watchers.delete(response);
        });
      },
    );
  }

  listen(host: string): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen(DEFAULT_PORT, host, resolve);
    });
  }

  say(report: MachineReport): void {
    this.#reports.set(report.uid, report);
    for (const each of this.watchers) this.#write(each, { type: "machine", object: report });
  }

  /** Its machine has ended, and its pod is about to be gone. */
  forget(uid: string): void {
    const report = this.#reports.get(uid);
    if (report === undefined) return;
    this.#reports.delete(uid);
    const { namespace, pod } = report;
    for (const each of this.watchers) this.#write(each, { type: "gone", namespace, pod, uid });
  }

  close(): Promise<void> {
    for (const each of this.watchers) each.destroy();
    this.#server.closeAllConnections();
    return new Promise((resolve) => {
      this.#server.close(() => {
        resolve();
      });
    });
  }

  #write(to: ServerResponse, event: object): void {
    to.write(`${JSON.stringify(event)}\n`);
  }
}
