import type { DiskSetting } from "./disk-list.ts";
import type { InterfaceSetting } from "./interface-list.ts";
import type { SeedSource, UserSource } from "./seed-source.ts";

/** A value that is one word. */
export type ScalarType =
  | { readonly type: "integer"; readonly min: number; readonly max: number }
  | { readonly type: "quantity"; readonly min: bigint; readonly max: bigint }
  | { readonly type: "choice"; readonly choices: readonly string[] }
  | { readonly type: "switch" }
  | { readonly type: "word"; readonly pattern: RegExp; readonly allowed: string }
  | { readonly type: "uuid" };

/** A field of a mapping. */
type FieldSpec = ScalarType & { readonly description: string };

export type Fields = Readonly<Record<string, FieldSpec>>;

/** What the text of an annotation may be; each has one parser in parse-value.ts. */
export type ValueType =
  | ScalarType
  | { readonly type: "fields"; readonly fields: Fields }
  | {
      readonly type: "choices";
      readonly choices: readonly string[];
      readonly pattern: RegExp;
      readonly names: string;
      readonly maxCount: number;
    }
  | {
      readonly type: "words";
      readonly names: RegExp;
      readonly words: RegExp;
      readonly allowed: string;
      readonly maxCount: number;
    }
  | { readonly type: "disks"; readonly maxBytes: number; readonly maxCount: number }
  | { readonly type: "userData"; readonly maxBytes: number }
  | { readonly type: "mapping"; readonly maxBytes: number }
  | { readonly type: "ignition"; readonly maxBytes: number }
  | { readonly type: "source" }
  | { readonly type: "sources"; readonly maxCount: number }
  | { readonly type: "userSources"; readonly maxCount: number }
  | { readonly type: "sshKeys"; readonly maxCount: number }
  | { readonly type: "bindings"; readonly maxCount: number }
  | { readonly type: "interfaces"; readonly maxCount: number }
  | { readonly type: "ports"; readonly maxCount: number };

/** The value a parser gives, by the type's name. Quantities are bytes, at most 2^53. */
export interface ParsedValues {
  integer: number;
  quantity: number;
  choice: string;
  switch: boolean;
  word: string;
  uuid: string;
  fields: Readonly<Record<string, string | number | boolean | undefined>>;
  choices: Readonly<Record<string, string>>;
  /** No word twice. */
  words: Readonly<Record<string, string>>;
  disks: readonly DiskSetting[];
  userData: string;
  mapping: Readonly<Record<string, unknown>>;
  /** The text. */
  ignition: string;
  source: SeedSource;
  sources: readonly SeedSource[];
  userSources: readonly UserSource[];
  sshKeys: readonly string[];
  bindings: NetworkBindings;
  interfaces: Readonly<Record<string, InterfaceSetting>>;
  ports: readonly PodPort[];
}

/** A port of the pod's address and the container, or the machine, that it belongs to. */
export interface PodPort {
  readonly container: string;
  readonly port: number;
  readonly protocol: "tcp" | "udp";
}

/** How a guest has an interface of its pod. */
export type NetworkBinding = (typeof NETWORK_BINDINGS)[number];

/** In the order the reference names them. */
export const NETWORK_BINDINGS = ["tap", "masquerade", "passt", "macvtap"] as const;

/** By the interface's name; "*" for those that are not named. */
export type NetworkBindings = Readonly<Record<string, NetworkBinding>>;

/** A name Virtlet gave to the same thing. */
export interface VirtletAlias {
  readonly name: string;
  /** Virtlet's text in our terms; absent = the same text means the same. */
  readonly translate?: (text: string) => string;
  /** What Virtlet's text may be, where that differs from ours. */
  readonly allowed?: string;
}

export type AnnotationSpec = ValueType & {
  readonly key: `trine.dev/${string}`;
  /** Property of the parsed settings. */
  readonly setting: string;
  /** In the annotation's own text; absent = unset means something of its own, said in `description`. */
  readonly default?: string;
  readonly description: string;
  /** Why it exists and is not taken from the Pod itself. */
  readonly reason: string;
  readonly example: string;
  /** Level of isolation it applies to. */
  readonly level: "vm" | "microvm";
  readonly virtlet: readonly VirtletAlias[];
  /** May hold passwords: messages give only its size. */
  readonly secret?: true;
};

type ValueOf<S extends ValueType> = S extends {
  type: "choice";
  choices: infer C extends readonly string[];
}
  ? C[number]
  : S extends { type: "choices"; choices: infer C extends readonly string[] }
    ? Readonly<Record<string, C[number]>>
    : S extends { fields: infer F extends Fields }
      ? { readonly [K in keyof F]?: ValueOf<F[K]> }
      : ParsedValues[S["type"]];

/** What a list of annotations is parsed to; without a default a setting may be undefined. */
export type SettingsOf<Spec extends AnnotationSpec> = {
  readonly [S in Spec as S["setting"]]:
    ValueOf<S> | (S extends { default: string } ? never : undefined);
};
