import { createServer } from "node:net";
import type { Duplex } from "node:stream";
import type { DescService } from "@bufbuild/protobuf";
import { TrineError, kindOf, listenUnix, withDeadline } from "@trine/base";
import type { ErrorListener, Handler, Route } from "./server-call.ts";
import { ServerConnection } from "./server-connection.ts";
import type { ConnectionDeps } from "./server-connection.ts";
import type { ServiceHandlers } from "./service-types.ts";

const MAX_CONNECTIONS = 4096;
const CLOSE_GRACE_MS = 5_000;

export interface TtrpcServerOptions {
  /** Gets what the client is not told: unplanned failures of handlers, and why a connection was ended. */
  readonly onError: ErrorListener;
  /** Aborts a call's signal when its client is gone. Default true. */
  readonly abortWhenClientGone?: boolean;
}

/** A ttrpc server for unary calls on unix sockets. */
export class TtrpcServer {
  readonly #routes = new Map<string, Route>();
  readonly #connections = new Set<ServerConnection>();
  readonly #server = createServer();
  readonly #deps: ConnectionDeps;

  constructor(options: TtrpcServerOptions) {
    this.#deps = {
      routeOf: (service: string, method: string) => this.#routes.get(`${service}/${method}`),
      onError: options.onError,
      abortWhenClientGone: options.abortWhenClientGone ?? true,
    };
    this.#server.maxConnections = MAX_CONNECTIONS;
    this.#server.on("connection", (socket) => {
      this.serve(socket);
    });
  }

  /** Serves one client over a stream that is there, with or without listening. */
  serve(stream: Duplex): void {
    const connection = new ServerConnection(stream, this.#deps);
    this.#connections.add(connection);
    void connection.closed.then(() => this.#connections.delete(connection));
  }

  /** Calls running now, on all connections. */
  get pendingCalls(): number {
    return [...this.#connections].reduce((sum, connection) => sum + connection.pendingCalls, 0);
  }

  /** Methods without a handler answer Unimplemented. */
  register<S extends DescService>(service: S, handlers: ServiceHandlers<S>): void {
    const byName = handlers as Readonly<Record<string, Handler | undefined>>;
    for (const method of service.methods) {
      const handler = byName[method.localName];
      if (handler === undefined) continue;
      const key = `${service.typeName}/${method.name}`;
      if (this.#routes.has(key))
        throw new TrineError("alreadyExists", `${key} is registered twice`);
      this.#routes.set(key, { method, handler: handler.bind(handlers) });
    }
  }

  /**
   * Listens on a unix socket only its owner may connect to. A socket file nobody answers on is replaced;
   * one that answers is kind `alreadyExists`.
   */
  async listen(path: string): Promise<void> {
    await listenUnix(this.#server, path);
  }

  /**
   * Ends every connection without answering what runs, aborts it, and waits for the handlers: at most
   * five seconds, since one that heeds no signal must not keep the program.
   */
  async close(): Promise<void> {
    this.#server.close();
    const all = [...this.#connections].map((connection) => connection.close());
    try {
      await withDeadline("handlers of a closing ttrpc server", CLOSE_GRACE_MS, Promise.all(all));
    } catch (cause) {
      if (kindOf(cause) !== "timeout") throw cause;
    }
  }
}
