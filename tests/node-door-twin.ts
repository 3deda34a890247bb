// A node's door for tests of its clients: TLS 1.3, certificates on both sides, the door's protocol, and a machine that echoes.
import { readFile } from "node:fs/promises";
import type { IncomingMessage, ServerResponse } from "node:http";
import { type Server, createServer } from "node:https";
import type { AddressInfo } from "node:net";
import type { Duplex } from "node:stream";
import type { KubeControlPlane } from "@trine/testkit";

const NODE = "node-1";

/** One machine's node. */
export class NodeDoorTwin {
  readonly node = NODE;
  /** `METHOD path?query body` of each request. */
  readonly asked: string[] = [];
  readonly #server: Server;
  readonly #streams = new Set<Duplex>();

  private constructor(server: Server) {
    this.#server = server;
  }

  static async start({ authority }: KubeControlPlane): Promise<NodeDoorTwin> {
    const pair = await authority.sign("door", {
      user: `trine-node:${NODE}`,
      ips: ["127.0.0.1"],
      names: [NODE],
    });
    const [ca, cert, key] = await Promise.all(
      [authority.cert, pair.cert, pair.key].map((path) => readFile(path)),
    );
    const tls = { ca, cert, key, minVersion: "TLSv1.3", requestCert: true } as const;
    const server = createServer({ ...tls, rejectUnauthorized: true });
    const twin = new NodeDoorTwin(server);
    server.on("request", (request, response) => void twin.#answer(request, response));
    server.on("upgrade", (request, socket) => {
      twin.#upgrade(request, socket);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return twin;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** The machine ends: so do its streams. */
  endStreams(): void {
    for (const each of this.#streams) each.end();
  }

  async stop(): Promise<void> {
    for (const each of this.#streams) each.destroy();
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let body = "";
    for await (const chunk of request as AsyncIterable<Buffer>) body += chunk.toString();
    this.asked.push(`${request.method ?? ""} ${request.url ?? ""} ${body}`.trimEnd());
    const [path = ""] = (request.url ?? "").split("?");
    const answers: Readonly<Record<string, string | Buffer>> = {
      guestosinfo: '{"hostname":"guest"}',
      userlist: '{"items":[]}',
      filesystemlist: '{"items":[]}',
      screenshot: Buffer.from([0x89, 0x50, 0x4e, 0x47]),
    };
    response.writeHead(200, { "content-type": "application/json" });
    response.end(answers[path.split("/").at(-1) ?? ""] ?? "{}");
  }

  #upgrade(request: IncomingMessage, socket: Duplex): void {
    this.asked.push(`GET ${request.url ?? ""}`);
    this.#streams.add(socket);
    socket.on("close", () => this.#streams.delete(socket));
    socket.on("error", () => undefined);
    socket.write("HTTP/1.1 101 Switching Protocols\r\n");
    socket.write("Connection: Upgrade\r\nUpgrade: trine-stream\r\n\r\n");
    socket.pipe(socket);
  }
}
