import type { PodSpec } from "@trine/kube-client";

/** What is wrong with a spec that its pod cannot be made of. */
export interface Refusal {
  /** A path in the instance: `spec.domain.cpu.threads`. */
  readonly field: string;
  readonly why: string;
}

type Json = Readonly<Record<string, unknown>>;
type PodVolume = NonNullable<PodSpec["volumes"]>[number];

/** An entry of trine.dev/disks. */
export interface DiskEntry extends Json {
  readonly name: string;
}

/** What one subject of an instance's spec makes of its pod. All of them together are the pod. */
export interface Parts {
  readonly annotations?: Readonly<Record<string, string>>;
  readonly volumes?: readonly PodVolume[];
  /** Of the machine's container. */
  readonly mounts?: readonly Json[];
  readonly devices?: readonly Json[];
  readonly ports?: readonly Json[];
  readonly requests?: Readonly<Record<string, string>>;
  readonly limits?: Readonly<Record<string, string>>;
  readonly claims?: readonly Json[];
  /** Other fields of the machine's container. */
  readonly container?: Json;
  /** Containers beside it. */
  readonly beside?: readonly (Json & { readonly name: string })[];
  readonly disks?: readonly DiskEntry[];
  /** Names of Secrets to pull images with. */
  readonly pullSecrets?: readonly string[];
  /** Other fields of the pod's spec. */
  readonly pod?: Json;
  readonly refusals?: readonly Refusal[];
}

type Joined = { readonly [K in keyof Parts]-?: NonNullable<Parts[K]> };

/** All parts as one. A field that two subjects say is the later one's. */
export function joined(parts: readonly Parts[]): Joined {
  const all = <T>(of: (each: Parts) => readonly T[] | undefined): T[] =>
    parts.flatMap((each) => of(each) ?? []);
  const merged = <T extends object>(of: (each: Parts) => T | undefined): T =>
    Object.assign({}, ...parts.map((each) => of(each) ?? {})) as T;
  return {
    annotations: merged(({ annotations }) => annotations),
    requests: merged(({ requests }) => requests),
    limits: merged(({ limits }) => limits),
    container: merged(({ container }) => container),
    pod: merged(({ pod }) => pod),
    volumes: once(
      all(({ volumes }) => volumes),
      ({ name }) => name,
    ),
    mounts: once(
      all(({ mounts }) => mounts),
      ({ mountPath }) => String(mountPath),
    ),
    devices: all(({ devices }) => devices),
    ports: all(({ ports }) => ports),
    claims: all(({ claims }) => claims),
    beside: all(({ beside }) => beside),
    disks: all(({ disks }) => disks),
    pullSecrets: [...new Set(all(({ pullSecrets }) => pullSecrets))],
    refusals: all(({ refusals }) => refusals),
  };
}

/** Two subjects may need the same Secret. */
function once<T>(items: readonly T[], key: (item: T) => string): T[] {
  return [...new Map(items.map((item) => [key(item), item])).values()];
}

export function refused(field: string, why: string): Parts {
  return { refusals: [{ field, why }] };
}

/** The fields that are said: no annotation says `undefined`. */
export function defined<T extends object>(
  values: T,
): { readonly [K in keyof T]?: Exclude<T[K], undefined> } {
  const said = Object.entries(values).filter(([, value]) => value !== undefined);
  return Object.fromEntries(said) as { readonly [K in keyof T]?: Exclude<T[K], undefined> };
}

/** A mapping or list as an annotation's text; undefined when it says nothing. */
export function mappingText(values: object): string | undefined {
  const said = defined(values);
  return Object.keys(said).length === 0 ? undefined : JSON.stringify(said);
}
