import { parseDocument } from "yaml";

/** An annotation of Virtlet that is one or several of ours, or none. */
export interface VirtletMeaning {
  readonly allowed: string;
  /** Those it may turn into. */
  readonly ours: readonly string[];
  /** For people: what becomes of it. */
  readonly note: string;
  /** Texts of our annotations by their keys, or what is wrong. */
  readonly read: (text: string) => { readonly annotations: Texts } | { readonly why: string };
}

type Texts = Readonly<Record<string, string>>;
type Mapping = Readonly<Record<string, unknown>>;

const MAX_BYTES = 16 * 1024;
const [MODEL, FEATURES, TOPOLOGY] = [
  "trine.dev/cpu-model",
  "trine.dev/cpu-features",
  "trine.dev/cpu-topology",
] as const;

/** What is wrong with a CPU; a reading ends at the first. */
class Wrong extends Error {}

export const VIRTLET_MEANINGS: Readonly<Record<string, VirtletMeaning>> = {
  VirtletCPUModel: {
    allowed: '"host-model" or nothing',
    ours: [MODEL],
    note: "nothing says nothing",
    read: (text) => {
      if (text === "") return { annotations: {} };
      return text === "host-model" ? { annotations: { [MODEL]: text } } : { why: "is not allowed" };
    },
  },
  VirtletLibvirtCPUSetting: {
    allowed: "libvirt's <cpu> in YAML: mode, match: exact, model, features, topology",
    ours: [MODEL, FEATURES, TOPOLOGY],
    note: "of libvirt's `<cpu>` its mode, model, features and topology",
    read: (text) => {
      try {
        return { annotations: cpuOf(text) };
      } catch (cause) {
        if (cause instanceof Wrong) return { why: cause.message };
        throw cause;
      }
    },
  },
  VirtletChown9pfsMounts: {
    allowed: '"true" or "false"',
    ours: [],
    note: "accepted, and needless: volumes are served with the rights of their owners, and the guest may change these",
    read: (text) => {
      return text === "true" || text === "false" ? { annotations: {} } : { why: "is not allowed" };
    },
  },
};

/** Keys are taken in any case, as Virtlet takes them. */
function cpuOf(text: string): Texts {
  const { mode = "custom", match = "exact", model, features, topology, ...others } = read(text);
  const [unknown] = Object.keys(others);
  if (unknown !== undefined) throw new Wrong(`has ${quoted(unknown)}, which is none of ours`);
  if (match !== "exact") throw new Wrong(`has match ${quoted(match)}: only "exact" is meant here`);
  return {
    [MODEL]: modelOf(mode, model),
    ...(features === undefined ? {} : { [FEATURES]: JSON.stringify(featuresOf(features)) }),
    ...(topology === undefined
      ? {}
      : { [TOPOLOGY]: JSON.stringify(mapping(topology, "topology")) }),
  };
}

function read(text: string): Mapping {
  const size = Buffer.byteLength(text);
  if (size > MAX_BYTES) throw new Wrong(`has ${size} bytes; the limit is ${MAX_BYTES}`);
  const document = parseDocument(text);
  const [error] = document.errors;
  if (error !== undefined) throw new Wrong(`is not YAML: ${error.code} at ${error.pos[0]}`);
  let value: unknown;
  try {
    value = document.toJS({ maxAliasCount: 0 });
  } catch {
    throw new Wrong("has YAML aliases");
  }
  return mapping(value, "it");
}

function modelOf(mode: unknown, model: unknown): string {
  if (mode === "host-model" || mode === "host-passthrough") {
    if (model !== undefined) throw new Wrong(`has mode ${mode} and a model: keep one`);
    return mode;
  }
  if (mode !== "custom") {
    throw new Wrong(`has mode ${quoted(mode)}: "custom", "host-model" or "host-passthrough"`);
  }
  const { value, fallback, ...others } = mapping(model, "model");
  const [unknown] = Object.keys(others);
  if (unknown !== undefined)
    throw new Wrong(`has ${quoted(unknown)} of a model, which is none of ours`);
  if (fallback !== undefined && fallback !== "forbid") {
    throw new Wrong(`has fallback ${quoted(fallback)}: a model is never replaced ("forbid")`);
  }
  if (typeof value === "string") return value;
  throw new Wrong("has mode custom and no model with a value");
}

function featuresOf(value: unknown): Mapping {
  if (!Array.isArray(value)) throw new Wrong("has features that are no list");
  return Object.fromEntries(
    value.map((each) => {
      const { name, policy = "require", ...others } = mapping(each, "a feature");
      const isKnown = typeof name === "string" && Object.keys(others).length === 0;
      if (isKnown) return [name, policy];
      throw new Wrong("has a feature with something else than name and policy");
    }),
  );
}

function mapping(value: unknown, what: string): Mapping {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new Wrong(`${what === "it" ? "is" : `has ${what} that is`} not a mapping`);
  }
  return Object.fromEntries(
    Object.entries(value).map(([key, each]) => [key.toLowerCase(), each as unknown]),
  );
}

function quoted(value: unknown): string {
  return JSON.stringify(String(value).slice(0, 40));
}
