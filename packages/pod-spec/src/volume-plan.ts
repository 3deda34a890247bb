import { parseQuantity } from "@trine/annotations";
import { TrineError } from "@trine/base";
import { sourceOf } from "./environment.ts";
import type { Scope } from "./environment.ts";
import { fieldValue, resourceValue } from "./field-values.ts";
import type { SourceData } from "./parse-manifest.ts";
import type { HostPathType, Volume } from "./volume-schema.ts";

const MAX_FILES = 1024;
const MAX_BYTES = 8 * 1024 * 1024;

/** A file of a volume; `path` is relative and stays below it. */
export interface VolumeFile {
  readonly path: string;
  readonly mode: number;
  readonly data: Buffer;
}

/** What a volume is to be on the node. */
export type VolumePlan =
  | { readonly kind: "directory" }
  | { readonly kind: "tmpfs"; readonly sizeBytes?: bigint }
  | { readonly kind: "host"; readonly path: string; readonly type: HostPathType }
  | { readonly kind: "claim"; readonly path: string; readonly readOnly: boolean }
  | { readonly kind: "files"; readonly files: readonly VolumeFile[] }
  | { readonly kind: "image"; readonly reference: string; readonly pullPolicy: PullPolicy };

export type PullPolicy = "Always" | "IfNotPresent" | "Never";

/** Directories of this node that stand for claims: `CLAIM` or `NAMESPACE/CLAIM` → absolute path. */
export type Claims = Readonly<Record<string, string>>;

/** Decides what a volume is; kind `notFound` for a source or a claim that is not given. */
export function planVolume(volume: Volume, scope: Scope, claims: Claims): VolumePlan {
  if (volume.emptyDir !== undefined) return planEmptyDir(volume.emptyDir);
  if (volume.hostPath !== undefined) return { kind: "host", ...volume.hostPath };
  if (volume.image !== undefined) {
    const { reference, pullPolicy } = volume.image;
    return { kind: "image", reference, pullPolicy: pullPolicy ?? defaultPullPolicy(reference) };
  }
  if (volume.persistentVolumeClaim !== undefined) {
    const { claimName, readOnly } = volume.persistentVolumeClaim;
    return { kind: "claim", path: claimPath(claimName, scope, claims), readOnly };
  }
  const files = bounded(volume, filesOf(volume, scope));
  return { kind: "files", files };
}

/** As the API server fills it in: a tag `latest`, written or not, is asked for every time. */
export function defaultPullPolicy(image: string): PullPolicy {
  if (image.includes("@")) return "IfNotPresent";
  const tag = /:([^/:]+)$/.exec(image)?.[1] ?? "latest";
  return tag === "latest" ? "Always" : "IfNotPresent";
}

function planEmptyDir({ medium, sizeLimit }: NonNullable<Volume["emptyDir"]>): VolumePlan {
  if (medium !== "Memory") return { kind: "directory" };
  const sizeBytes = sizeLimit === undefined ? 0n : (parseQuantity(sizeLimit) ?? 0n);
  return sizeBytes === 0n ? { kind: "tmpfs" } : { kind: "tmpfs", sizeBytes };
}

function claimPath(claim: string, { pod }: Scope, claims: Claims): string {
  const full = `${pod.metadata.namespace}/${claim}`;
  const key = [full, claim].find((name) => Object.hasOwn(claims, name));
  const path = key === undefined ? undefined : claims[key];
  if (path !== undefined) return path;
  const advice = `say where it lies by --pvc ${claim}=/DIRECTORY`;
  throw new TrineError("notFound", `no directory for the claim ${full}: ${advice}`);
}

type Source = Pick<Volume, "configMap" | "downwardAPI"> & {
  readonly secret?:
    | {
        readonly items: readonly KeyItem[];
        readonly optional: boolean;
        readonly name?: string;
        readonly secretName?: string;
      }
    | undefined;
};

interface KeyItem {
  readonly key: string;
  readonly path: string;
  readonly mode?: number | undefined;
}

function filesOf(volume: Volume, scope: Scope): VolumeFile[] {
  if (volume.projected !== undefined) {
    const { defaultMode, sources } = volume.projected;
    return sources.flatMap((source) => sourceFiles(source as Source, defaultMode, scope));
  }
  const given = volume.configMap ?? volume.secret ?? volume.downwardAPI;
  return sourceFiles(volume, given?.defaultMode ?? 0o644, scope);
}

function sourceFiles(source: Source, mode: number, scope: Scope): VolumeFile[] {
  const { configMap, secret, downwardAPI } = source;
  if (configMap !== undefined) {
    const data = sourceOf(scope, "configMaps", configMap.name, configMap.optional);
    return keyFiles(`ConfigMap ${configMap.name}`, data, configMap, mode);
  }
  if (secret !== undefined) {
    const name = secret.secretName ?? secret.name ?? "";
    const data = sourceOf(scope, "secrets", name, secret.optional);
    return keyFiles(`Secret ${name}`, data, secret, mode);
  }
  return (downwardAPI?.items ?? []).map((item) => {
    const text =
      item.fieldRef === undefined
        ? resourceValue(
            scope.pod,
            undefined,
            item.resourceFieldRef ?? { resource: "" },
            scope.facts,
          )
        : fieldValue(scope.pod, item.fieldRef.fieldPath, scope.facts);
    return { path: item.path, mode: item.mode ?? mode, data: Buffer.from(text) };
  });
}

/** Without items every key is a file of its name. */
function keyFiles(
  what: string,
  data: SourceData | undefined,
  { items, optional }: { items: readonly KeyItem[]; optional: boolean },
  mode: number,
): VolumeFile[] {
  if (data === undefined) return [];
  if (items.length === 0)
    return [...data].map(([key, bytes]) => ({ path: key, mode, data: bytes }));
  return items.flatMap((item) => {
    const bytes = data.get(item.key);
    if (bytes !== undefined) return [{ path: item.path, mode: item.mode ?? mode, data: bytes }];
    if (optional) return [];
    throw new TrineError("notFound", `${what} has no key ${item.key}`);
  });
}

function bounded(volume: Volume, files: VolumeFile[]): VolumeFile[] {
  // The last source of a projected volume wins.
  const byPath = new Map(files.map((file) => [normal(file.path), file]));
  const kept = [...byPath].map(([path, file]) => ({ ...file, path }));
  const size = kept.reduce((sum, { data }) => sum + data.length, 0);
  if (kept.length > MAX_FILES || size > MAX_BYTES) {
    const limit = `${MAX_FILES} files or ${MAX_BYTES} bytes`;
    throw new TrineError("invalid", `volume ${volume.name}: more than ${limit}`);
  }
  for (const path of byPath.keys()) {
    const under = [...byPath.keys()].find((other) => other.startsWith(`${path}/`));
    if (under !== undefined || path === "" || path.startsWith("..")) {
      const why =
        under === undefined ? "cannot be a file's path" : `is both a file and above ${under}`;
      throw new TrineError("invalid", `volume ${volume.name}: ${path} ${why}`);
    }
  }
  return kept;
}

function normal(path: string): string {
  return path
    .split("/")
    .filter((part) => part !== "" && part !== ".")
    .join("/");
}
