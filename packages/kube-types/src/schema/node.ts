/** A rule of the API server's expression language; it judges the value that it stands at. */
export interface Rule {
  readonly rule: string;
  readonly message: string;
}

export type Json =
  null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/** What every node may say beside its kind. */
export interface NodeExtras {
  /** `null` is kept where it is written; without this the API server refuses it. */
  readonly nullable?: boolean;
  /** What the API server writes where nothing is. */
  readonly default?: Json;
  readonly rules?: readonly Rule[];
  /** A value that pattern and rules admit, where one made of the kind alone would not do. */
  readonly example?: Json;
}

export interface StringNode extends NodeExtras {
  readonly kind: "string";
  readonly format?: "date-time" | "byte";
  /** The only values, for the API server too. */
  readonly values?: readonly string[];
  /** Values that have a meaning today; the API server takes others too. */
  readonly known?: readonly string[];
  readonly pattern?: string;
  readonly minLength?: number;
  readonly maxLength?: number;
}

export interface IntegerNode extends NodeExtras {
  readonly kind: "integer";
  readonly format?: "int32" | "int64";
  readonly minimum?: number;
  readonly maximum?: number;
}

/** Kinds without a setting of their own. */
export interface PlainNode extends NodeExtras {
  readonly kind:
    | "number"
    | "boolean"
    | "quantity"
    | "intOrString"
    /** An object of any shape, kept whole. */
    | "opaque"
    /** `metadata` of a whole object: the API server knows it. */
    | "metadata";
}

export interface ListNode extends NodeExtras {
  readonly kind: "list";
  readonly item: Node;
  /** How server-side apply merges; `map` and `set` also forbid doubles. */
  readonly merge?: "atomic" | "set" | "map";
  readonly keys?: readonly string[];
  readonly minItems?: number;
  readonly maxItems?: number;
}

export interface MapNode extends NodeExtras {
  readonly kind: "map";
  readonly value: Node;
}

export interface ObjectNode extends NodeExtras {
  readonly kind: "object";
  readonly fields: Readonly<Record<string, Node>>;
  readonly needed: ReadonlySet<string>;
  /** Fields that are not named here are kept as well. */
  readonly open?: boolean;
}

/** A schema as data: what CRDs, checks and samples are made of. */
export type Node = StringNode | IntegerNode | PlainNode | ListNode | MapNode | ObjectNode;
