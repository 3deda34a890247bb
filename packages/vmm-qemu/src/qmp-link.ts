import { TrineError, errnoOf, kindOf, sleep } from "@trine/base";
import { QmpClient } from "@trine/qmp";

/** Nobody listens: the process that held the socket has ended, or there never was one. */
const GONE: ReadonlySet<unknown> = new Set(["ENOENT", "ECONNREFUSED"]);
const RETRY_MS = 10;

/** The daemon's monitor connection to one QEMU: made when needed, made anew when lost. */
export class QmpLink {
  readonly #path: string;
  #client: QmpClient | undefined;
  #connecting: Promise<QmpClient | undefined> | undefined;
  #detached = false;

  constructor(path: string) {
    this.#path = path;
  }

  /** The live connection, without waiting. */
  get current(): QmpClient | undefined {
    return this.#client;
  }

  /** Undefined when the process is gone. Waits for QEMU's greeting until the signal aborts. */
  async get(signal: AbortSignal): Promise<QmpClient | undefined> {
    signal.throwIfAborted();
    if (this.#detached) throw new TrineError("wrongState", `monitor ${this.#path} was let go of`);
    if (this.#client !== undefined) return this.#client;
    this.#connecting ??= this.#connect(signal).finally(() => (this.#connecting = undefined));
    return this.#connecting;
  }

  /** Lets go of QEMU, which runs on. */
  detach(): void {
    this.#detached = true;
    this.#client?.close();
  }

  async #connect(signal: AbortSignal): Promise<QmpClient | undefined> {
    for (;;) {
      try {
        return this.#keep(await QmpClient.connect(this.#path, signal));
      } catch (cause) {
        if (GONE.has(errnoOf(cause))) return undefined;
        if (kindOf(cause) !== "unavailable") throw cause;
        // It ended between connect and greeting: the next try finds nobody, or its successor.
        await sleep(RETRY_MS, signal);
      }
    }
  }

  #keep(client: QmpClient): QmpClient {
    this.#client = client;
    void client.closed.then(() => {
      if (this.#client === client) this.#client = undefined;
    });
    if (this.#detached) client.close();
    return client;
  }
}
