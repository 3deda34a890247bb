import { dataVolumeSourcePVC, dataVolumeSourceSnapshot } from "./import-source.ts";
import { whole } from "../schema/kind.ts";
import { type Infer, known, list, needed, object, string, time } from "../schema/schema.ts";

const dataSourceRefSourceDataSource = object({
  namespace: needed(string()),
  name: needed(string()),
});

const dataSourceSource = object({
  pvc: dataVolumeSourcePVC,
  snapshot: dataVolumeSourceSnapshot,
  dataSource: dataSourceRefSourceDataSource,
});

const dataSourceSpec = object({ source: needed(dataSourceSource) });

const dataSourceCondition = object({
  type: needed(known("Ready")),
  status: needed(known("True", "False", "Unknown")),
  lastTransitionTime: time(),
  lastHeartbeatTime: time(),
  reason: string(),
  message: string(),
});

const dataSourceStatus = object({
  source: dataSourceSource,
  conditions: list(dataSourceCondition),
});

export const dataSource = whole({ spec: needed(dataSourceSpec), status: dataSourceStatus });
export type DataSource = Infer<typeof dataSource>;
