import { isDeepStrictEqual } from "node:util";
import { type Cache, type Stored, type WorkQueue, keyOf, resourceOf } from "@trine/kube-client";
import { CDI, type Cdi, type CdiConfig, KUBEVIRT, type KubeVirt } from "@trine/kube-types";
import type { ControlDeps, Controller, MakeCache } from "../controller.ts";
import { newest, queueController } from "../queue-controller.ts";
import { timestamp } from "../timestamp.ts";
import { chosenKubeVirt, clusterSettings } from "./cluster-settings.ts";
import { CDI_CONFIGS } from "../kinds.ts";
import { sayUploadProxy } from "./say-upload-proxy.ts";
import { cdiStatus, kubeVirtStatus } from "./status.ts";

export const KUBEVIRTS = resourceOf(KUBEVIRT);
const CDIS = resourceOf(CDI);

interface InstallationDeps extends Pick<ControlDeps, "api" | "now" | "onFailure"> {
  readonly kubeVirts: Cache<KubeVirt>;
  readonly version: string;
}

/**
 * Says in the KubeVirt and CDI objects which version serves, and what of their configuration nothing acts on; in the CDIConfig
 * where uploads go.
 */
export function installationController(deps: InstallationDeps, make: MakeCache): Controller {
  const { kubeVirts } = deps;
  const cdis = make(CDIS);
  const configs = make(CDI_CONFIGS);
  return queueController({
    name: "installation",
    workers: 1,
    caches: [kubeVirts, cdis, configs],
    watch: (queue) => watchAll({ kubeVirts, cdis, configs }, queue),
    reconcile: async (key, signal) => {
      const [kind = "", name = ""] = key.split(" ");
      if (kind === KUBEVIRTS.plural) await sayKubeVirt(deps, name, signal);
      else if (kind === CDI_CONFIGS.plural) await sayUploadProxy(deps, { cdis, configs }, signal);
      else await sayCdi(deps, cdis, name, signal);
      return "settled";
    },
    onFailure: deps.onFailure,
  });
}

interface Watched {
  readonly kubeVirts: Cache<KubeVirt>;
  readonly cdis: Cache<Cdi>;
  readonly configs: Cache<CdiConfig>;
}

function watchAll(
  { kubeVirts, cdis, configs }: Watched,
  queue: WorkQueue,
): readonly (() => void)[] {
  // One, whatever has changed: it is of all of them.
  const uploads = `${CDI_CONFIGS.plural} all`;
  return [
    kubeVirts.onChange(
      newest(() => {
        // Where the one that counted is gone, another does.
        const object = chosenKubeVirt(kubeVirts.list());
        if (object !== undefined) queue.add(`${KUBEVIRTS.plural} ${keyOf(object)}`);
      }),
    ),
    cdis.onChange(
      newest((object) => {
        queue.add(`${CDIS.plural} ${keyOf(object)}`);
        queue.add(uploads);
      }),
    ),
    configs.onChange(() => {
      queue.add(uploads);
    }),
  ];
}

async function sayKubeVirt(
  { api, kubeVirts, version, now }: InstallationDeps,
  key: string,
  signal: AbortSignal,
): Promise<void> {
  const object = kubeVirts.get(key);
  // A second one changes nothing, so nothing is said of it.
  if (object === undefined || chosenKubeVirt(kubeVirts.list()) !== object) return;
  const { defaults, inert } = clusterSettings(object);
  const status = kubeVirtStatus(object.status, {
    version,
    generation: object.metadata.generation ?? 0,
    architecture: defaults.architecture,
    inert,
    now: timestamp(now()),
  });
  if (isDeepStrictEqual(status, object.status)) return;
  await api.update(KUBEVIRTS, { ...object, status }, { subresource: "status", signal });
}

async function sayCdi(
  { api, version, now }: InstallationDeps,
  cdis: Cache<Cdi>,
  key: string,
  signal: AbortSignal,
): Promise<void> {
  const object: Stored<Cdi> | undefined = cdis.get(key);
  if (object === undefined) return;
  const status = cdiStatus(object.status, { version, now: timestamp(now()) });
  if (isDeepStrictEqual(status, object.status)) return;
  // Its kind has no status apart from the rest.
  await api.update(CDIS, { ...object, status }, { signal });
}
