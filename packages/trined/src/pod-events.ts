import { messageOf } from "@trine/base";
import type { EventRecorder } from "@trine/kube-client";
import type { ViewHappening } from "@trine/lxcfs";
import type { Logger } from "pino";
import type { Config } from "./config.ts";
import { nodeNameOf } from "./door/door-config.ts";
import { LateApi } from "./late-api.ts";

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
  const {
    EventRecorder: Recorder,
    KubeClient,
    readKubeconfig,
  } = await import("@trine/kube-client");
  const api = new LateApi({
    open: async () => new KubeClient(await readKubeconfig(file)),
    onProblem: (why) => {
      log.warn({ kubeconfig: file, why }, "events of pods wait for their kubeconfig");
    },
  });
  const recorder = new Recorder(api, {
    ...{ component: "trined", instance: node },
    onProblem: (cause) => {
      log.warn({ err: messageOf(cause) }, "an event of a pod was not written");
    },
  });
  const written = writeWhenOpen(api, recorder, log, signal);
  return { recorder, written };
}

/** The recorder gives an event up after a few tries: it begins when there is something to try. */
async function writeWhenOpen(
  api: LateApi,
  recorder: EventRecorder,
  log: Logger,
  signal: AbortSignal,
): Promise<void> {
  try {
    await api.opened(signal);
    await recorder.run(signal);
  } catch (cause) {
    if (!signal.aborted) log.error({ err: messageOf(cause) }, "events of pods end here");
  } finally {
    api.close();
  }
}

function tell(recorder: EventRecorder, { pod, ...happening }: ViewHappening): void {
  // Which version of the pod it was nobody has told us.
  const metadata = { ...pod, resourceVersion: "" };
  recorder.record({ apiVersion: "v1", kind: "Pod", metadata }, happening);
}
