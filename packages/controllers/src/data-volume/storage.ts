import { kindOf } from "@trine/base";
import { type KubeApi, type KubeObject, type Resource, resourceOf } from "@trine/kube-client";
import {
  CDI_CONFIG,
  type CdiConfig,
  DATA_SOURCE,
  type DataSource,
  STORAGE_PROFILE,
  type StorageProfile,
} from "@trine/kube-types";

export interface StorageClass extends KubeObject {
  readonly provisioner?: string;
  readonly volumeBindingMode?: string;
}

export const STORAGE_CLASSES: Resource<StorageClass> = {
  group: "storage.k8s.io",
  version: "v1",
  plural: "storageclasses",
  kind: "StorageClass",
  namespaced: false,
};
export const DATA_SOURCES: Resource<DataSource> = resourceOf(DATA_SOURCE);
const STORAGE_PROFILES: Resource<StorageProfile> = resourceOf(STORAGE_PROFILE);
const CDI_CONFIGS: Resource<CdiConfig> = resourceOf(CDI_CONFIG);

const DEFAULT_CLASS = [
  "storageclass.kubevirt.io/is-default-virt-class",
  "storageclass.kubernetes.io/is-default-class",
];
/** Of a file system's size, what it takes for itself: CDI's. */
const DEFAULT_OVERHEAD = 0.06;

/** What the cluster says of a storage class. */
export interface Storage {
  readonly waitsForConsumer: boolean;
  readonly profile: StorageProfile | undefined;
  readonly overhead: number;
}

/** `name`: absent = the cluster's default class; empty = none. */
export async function storageOf(
  api: Pick<KubeApi, "get" | "list">,
  name: string | undefined,
  signal: AbortSignal,
): Promise<Storage> {
  const { items } = await api.list(STORAGE_CLASSES, {}, signal);
  const isDefault = ({ metadata }: StorageClass, key: string): boolean =>
    metadata?.annotations?.[key] === "true";
  const wanted =
    name === undefined
      ? DEFAULT_CLASS.map((key) => items.find((each) => isDefault(each, key))).find(Boolean)
      : items.find(({ metadata }) => metadata.name === name);
  const className = wanted?.metadata.name;
  const [profile, config] = await Promise.all([
    className === undefined
      ? undefined
      : api.get(STORAGE_PROFILES, { name: className }, signal).catch(absent),
    api.get(CDI_CONFIGS, { name: "config" }, signal).catch(absent),
  ]);
  return {
    waitsForConsumer: wanted?.volumeBindingMode === "WaitForFirstConsumer",
    profile,
    overhead: overheadOf(config, className),
  };
}

function overheadOf(config: CdiConfig | undefined, className = ""): number {
  const said = [config?.status?.filesystemOverhead, config?.spec.filesystemOverhead].find(
    (each) => each !== undefined,
  );
  const text = said?.storageClass?.[className] ?? said?.global;
  const share = Number(text ?? DEFAULT_OVERHEAD);
  return share >= 0 && share < 1 ? share : DEFAULT_OVERHEAD;
}

export function absent(cause: unknown): undefined {
  if (kindOf(cause) !== "notFound") throw cause;
  return undefined;
}
