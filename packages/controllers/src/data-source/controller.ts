import { isDeepStrictEqual } from "node:util";
import { kindOf } from "@trine/base";
import { type Cache, DATA_SOURCES, type Outcome, type Stored, keyOf } from "@trine/kube-client";
import type { DataSource } from "@trine/kube-types";
import type { ControlDeps, Controller, MakeCache } from "../controller.ts";
import { newest, queueController } from "../queue-controller.ts";
import { statusOf } from "./status.ts";

/** Of DataSources by the claim that they name: `NAMESPACE/NAME`. */
const BY_CLAIM = "claim";
/** Of DataSources by the one that they name. */
const BY_NAMED = "named";

/** Caches that only this controller has. */
interface SourceCaches {
  readonly dataSources: Cache<DataSource>;
}

export function sourceCaches(make: MakeCache): SourceCaches {
  return { dataSources: make(DATA_SOURCES, { [BY_CLAIM]: claimOf, [BY_NAMED]: namedBy }) };
}

interface SourceDeps extends Pick<ControlDeps, "api" | "now" | "onFailure"> {
  readonly caches: Pick<ControlDeps["caches"], "dataVolumes" | "claims"> & SourceCaches;
}

/** Says in each DataSource whether what it stands for can be copied. */
export function dataSourceController(deps: SourceDeps): Controller {
  const { dataSources, dataVolumes, claims } = deps.caches;
  return queueController({
    name: "datasource",
    workers: 2,
    caches: [dataSources, dataVolumes, claims],
    watch: (queue) => {
      const add = (source: Stored): void => {
        queue.add(keyOf(source));
      };
      const addAll = (index: string, key: string): void => {
        dataSources.byIndex(index, key).forEach(add);
      };
      // What stands for a claim, and what stands for that.
      const addTwice = (object: Stored): void => {
        for (const source of dataSources.byIndex(BY_CLAIM, keyOf(object))) {
          add(source);
          addAll(BY_NAMED, keyOf(source));
        }
      };
      return [
        dataSources.onChange(
          newest((source) => {
            add(source);
            addAll(BY_NAMED, keyOf(source));
          }),
        ),
        dataVolumes.onChange(newest(addTwice)),
        claims.onChange(newest(addTwice)),
      ];
    },
    reconcile: (key, signal) => reconcile(deps, key, signal),
    onFailure: deps.onFailure,
  });
}

async function reconcile(
  { api, caches, now }: SourceDeps,
  key: string,
  signal: AbortSignal,
): Promise<Outcome> {
  const source = caches.dataSources.get(key);
  if (source === undefined || source.metadata.deletionTimestamp !== undefined) return "settled";
  const [named] = namedBy(source);
  const status = statusOf({
    source,
    named: named === undefined ? undefined : caches.dataSources.get(named),
    claim: (of) => caches.claims.get(of),
    volume: (of) => caches.dataVolumes.get(of),
    now: now(),
  });
  if (isDeepStrictEqual(status, source.status)) return "settled";
  try {
    // It has no status of its own to write to, as in CDI: its version says that nobody has changed it since.
    await api.update(DATA_SOURCES, { ...source, status }, { signal });
  } catch (cause) {
    // The cache tells of what was not seen yet, and the key comes again.
    if (!["conflict", "notFound"].includes(kindOf(cause))) throw cause;
  }
  return "settled";
}

function claimOf({ spec }: DataSource): readonly string[] {
  const { pvc } = spec.source;
  return pvc === undefined ? [] : [`${pvc.namespace}/${pvc.name}`];
}

function namedBy({ spec }: DataSource): readonly string[] {
  const { dataSource } = spec.source;
  return dataSource === undefined ? [] : [`${dataSource.namespace}/${dataSource.name}`];
}
