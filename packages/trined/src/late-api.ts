import { TrineError, messageOf, sleep } from "@trine/base";
import type {
  JsonPatchOperation,
  KubeApi,
  KubeClient,
  KubeObject,
  Place,
  Resource,
  Stored,
  WriteOptions,
} from "@trine/kube-client";

/** How often it is tried to open it. */
const LOOK_MS = 1_000;

type Client = Pick<KubeClient, "create" | "patch" | "close">;

interface LateApiOptions {
  readonly open: () => Promise<Client>;
  /** Once for each reason why it cannot be opened yet. */
  readonly onProblem: (why: string) => void;
  readonly lookMs?: number;
}

/** An API server whose kubeconfig may come after us, as kubelet's does on a new node. */
export class LateApi implements Pick<KubeApi, "create" | "patch"> {
  readonly #options: LateApiOptions;
  #client: Client | undefined;

  constructor(options: LateApiOptions) {
    this.#options = options;
  }

  /** Resolves once it is open, however long that takes; rejects with the signal's reason when it aborts first. */
  async opened(signal: AbortSignal): Promise<void> {
    const { open, onProblem, lookMs = LOOK_MS } = this.#options;
    let said: string | undefined;
    while (this.#client === undefined) {
      try {
        this.#client = await open();
        return;
      } catch (cause) {
        const why = messageOf(cause);
        if (why !== said) onProblem(why);
        said = why;
      }
      await sleep(lookMs, signal);
    }
  }

  create<T extends KubeObject>(
    resource: Resource<T>,
    object: T,
    options?: WriteOptions,
  ): Promise<Stored<T>> {
    return this.#open().create(resource, object, options);
  }

  patch<T extends KubeObject>(
    resource: Resource<T>,
    at: Place,
    operations: readonly JsonPatchOperation[],
    options?: WriteOptions,
  ): Promise<Stored<T>> {
    return this.#open().patch(resource, at, operations, options);
  }

  close(): void {
    this.#client?.close();
  }

  #open(): Client {
    if (this.#client === undefined) throw new TrineError("wrongState", "it is not open yet");
    return this.#client;
  }
}
