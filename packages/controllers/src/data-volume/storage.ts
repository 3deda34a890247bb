import {
  type KubeApi,
  type KubeObject,
  type Resource,
  type Stored,
  resourceOf,
} from "@trine/kube-client";
import { STORAGE_PROFILE, type StorageProfile } from "@trine/kube-types";
import { absent } from "./absent.ts";
import { overheads } from "./overhead.ts";

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
const STORAGE_PROFILES: Resource<StorageProfile> = resourceOf(STORAGE_PROFILE);

const DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class";
/** Comes first for what says only how large a disk is to be. */
const DEFAULT_OF_DISKS = "storageclass.kubevirt.io/is-default-virt-class";

/** Those whose claims the first pod binds that uses them. */
export async function waitingClasses(
  api: Pick<KubeApi, "list">,
  signal: AbortSignal,
): Promise<ReadonlySet<string>> {
  const { items } = await api.list(STORAGE_CLASSES, {}, signal);
  return new Set(items.filter(isWaiting).map(({ metadata }) => metadata.name));
}

function isWaiting({ volumeBindingMode }: StorageClass): boolean {
  return volumeBindingMode === "WaitForFirstConsumer";
}

/** What the cluster says of a storage class. */
export interface Storage {
  /** Undefined: it is not there. */
  readonly className: string | undefined;
  readonly waitsForConsumer: boolean;
  readonly profile: StorageProfile | undefined;
  readonly overhead: number;
}

interface Wanted {
  /** Absent = the cluster's default; empty = none. */
  readonly name: string | undefined;
  readonly isForDisk: boolean;
}

export async function storageOf(
  api: Pick<KubeApi, "get" | "list">,
  { name, isForDisk }: Wanted,
  signal: AbortSignal,
): Promise<Storage> {
  const { items } = await api.list(STORAGE_CLASSES, {}, signal);
  const defaultBy = (key: string): Stored<StorageClass> | undefined =>
    items.find(({ metadata }) => metadata.annotations?.[key] === "true");
  const wanted =
    name === undefined
      ? ((isForDisk ? defaultBy(DEFAULT_OF_DISKS) : undefined) ?? defaultBy(DEFAULT_CLASS))
      : items.find(({ metadata }) => metadata.name === name);
  const className = wanted?.metadata.name;
  const [profile, overheadOf] = await Promise.all([
    className === undefined
      ? undefined
      : api.get(STORAGE_PROFILES, { name: className }, signal).catch(absent),
    overheads(api, signal),
  ]);
  return {
    className,
    waitsForConsumer: wanted !== undefined && isWaiting(wanted),
    profile,
    overhead: overheadOf(className ?? name),
  };
}
