import { TrineError, messageOf } from "@trine/base";
import type {
  EventRecorder,
  JsonPatchOperation,
  KubeApi,
  KubeClient,
  KubeObject,
  Place,
  Resource,
  Stored,
  WriteOptions,
} from "@trine/kube-client";
import type { ViewHappening } from "@trine/lxcfs";
import type { Logger } from "pino";
import type { Config } from "./config.ts";
import { nodeNameOf } from "./door/door-config.ts";

export interface PodEvents {
  readonly record: (happening: ViewHappening) => void;
  readonly stop: () => Promise<void>;
}

interface PodEventsDeps {
  readonly config: Pick<Config, "kubernetes" | "nodeDoor">;
  readonly log: Logger;
}

/**
 * Events of pods, in the cluster; undefined where no kubeconfig is given, and nothing of it is loaded there. In the background, and
 * as far as the API server takes them: what happens to the pods does not wait for it.
 */
export function keepPodEvents({ config, log: given }: PodEventsDeps): PodEvents | undefined {
  const { kubeconfig, events } = config.kubernetes;
  const file = events === "" ? kubeconfig : events;
  if (file === "") return undefined;
  const log = given.child({ component: "events" });
  const over = new AbortController();
  const writing = openRecorder(file, nodeNameOf(config.nodeDoor), log, over.signal);
  return {
    record: (happening) => {
      void writing.then(({ recorder }) => {
        tell(recorder, happening);
      });
    },
    stop: async () => {
      over.abort();
      await (
        await writing
      ).written;
    },
  };
}

async function openRecorder(
  file: string,
  node: string,
  log: Logger,
  signal: AbortSignal,
): Promise<{ recorder: EventRecorder; written: Promise<void> }> {
  const { EventRecorder: Recorder } = await import("@trine/kube-client");
  const api = new LateApi(file);
  const recorder = new Recorder(api, {
    ...{ component: "trined", instance: node },
    onProblem: (cause) => {
      log.warn({ err: messageOf(cause) }, "an event of a pod was not written");
    },
  });
  const written = recorder.run(signal).finally(() => {
    api.close();
  });
  return { recorder, written };
}

function tell(recorder: EventRecorder, { pod, ...happening }: ViewHappening): void {
  // Which version of the pod it was nobody has told us.
  const metadata = { ...pod, resourceVersion: "" };
  recorder.record({ apiVersion: "v1", kind: "Pod", metadata }, happening);
}

/** A kubeconfig that may come after us, as kubelet's does on a new node. */
class LateApi implements Pick<KubeApi, "create" | "patch"> {
  readonly #file: string;
  #client: Promise<KubeClient> | undefined;

  constructor(file: string) {
    this.#file = file;
  }

  async create<T extends KubeObject>(
    resource: Resource<T>,
    object: T,
    options?: WriteOptions,
  ): Promise<Stored<T>> {
    return (await this.#connected()).create(resource, object, options);
  }

  async patch<T extends KubeObject>(
    resource: Resource<T>,
    at: Place,
    operations: readonly JsonPatchOperation[],
    options?: WriteOptions,
  ): Promise<Stored<T>> {
    return (await this.#connected()).patch(resource, at, operations, options);
  }

  close(): void {
    // One that could not be opened has told it where it was used.
    this.#client?.then(
      (client) => {
        client.close();
      },
      () => undefined,
    );
  }

  async #connected(): Promise<KubeClient> {
    this.#client ??= this.#open();
    try {
      return await this.#client;
    } catch (cause) {
      this.#client = undefined;
      // It may come yet: the writer tries again.
      throw new TrineError("unavailable", `kubeconfig: ${messageOf(cause)}`, { cause });
    }
  }

  async #open(): Promise<KubeClient> {
    const { KubeClient: Client, readKubeconfig } = await import("@trine/kube-client");
    return new Client(await readKubeconfig(this.#file));
  }
}
