import { type ClusterSettings, chosenKubeVirt, clusterSettings } from "@trine/controllers";
import type { Cache } from "@trine/kube-client";
import type { KubeVirt } from "@trine/kube-types";
import type { Logger } from "pino";

/** KubeVirt's debugging output begins here. */
const DEBUG_FROM = 4;

/** The cluster's configuration as it is now, and the log as loud as it says. */
export class Settings {
  readonly kubeVirts: Cache<KubeVirt>;
  #now: ClusterSettings = clusterSettings(undefined);

  constructor(kubeVirts: Cache<KubeVirt>, logger: Logger) {
    this.kubeVirts = kubeVirts;
    const { level } = logger;
    const read = (): void => {
      this.#now = clusterSettings(chosenKubeVirt(kubeVirts.list()));
      logger.level = this.#now.verbosity >= DEBUG_FROM ? "debug" : level;
    };
    read();
    kubeVirts.onChange(read);
  }

  now(): ClusterSettings {
    return this.#now;
  }
}
