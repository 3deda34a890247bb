import type { Attributes } from "../access/authorization.ts";

export const GROUP = "subresources.kubevirt.io";
/** The first is what clients are told to prefer. */
export const VERSIONS = ["v1", "v1alpha3"] as const;
export type Version = (typeof VERSIONS)[number];

export type Owner = "virtualmachines" | "virtualmachineinstances";

/** What a request below a namespace is about. */
export interface Target {
  readonly version: Version;
  readonly namespace: string;
  /** `expand-vm-spec` is about no object. */
  readonly resource: Owner | "expand-vm-spec";
  /** Empty of `expand-vm-spec`. */
  readonly name: string;
  /** The rest of the path as RBAC and the table of subresources have it: `start`, `vnc/screenshot`, `portforward`. */
  readonly subresource: string;
  /** What follows `portforward`. */
  readonly rest: readonly string[];
}

const PREFIX = `/apis/${GROUP}/`;
/** Of names in Kubernetes, and longer than any of them. */
const NAME = /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/;

/** Reads the path of a request; undefined where it is none below a namespace. */
export function parseTarget(path: string): Target | undefined {
  if (!path.startsWith(PREFIX)) return undefined;
  const [version, namespaces, namespace = "", resource, name = "", ...rest] = path
    .slice(PREFIX.length)
    .replace(/\/$/, "")
    .split("/");
  const known = VERSIONS.find((each) => each === version);
  if (known === undefined || namespaces !== "namespaces" || !NAME.test(namespace)) return undefined;
  if (resource === "expand-vm-spec" && name === "") {
    return { version: known, namespace, resource, name, subresource: "", rest: [] };
  }
  if (resource !== "virtualmachines" && resource !== "virtualmachineinstances") return undefined;
  if (!NAME.test(name) || rest.length === 0 || rest.includes("")) return undefined;
  const [first = "", ...others] = rest;
  // Port and protocol are no part of the right.
  const forwards = first === "portforward";
  const subresource = forwards ? first : rest.join("/");
  return {
    version: known,
    namespace,
    resource,
    name,
    subresource,
    rest: forwards ? others : [],
  };
}

const VERBS: Readonly<Record<string, readonly [named: string, unnamed: string]>> = {
  GET: ["get", "list"],
  HEAD: ["get", "list"],
  PUT: ["update", "update"],
  POST: ["create", "create"],
  PATCH: ["patch", "patch"],
  DELETE: ["delete", "deletecollection"],
};

/** What RBAC calls a method that is sent to an object. */
export function verbOf(method: string): string | undefined {
  return Object.hasOwn(VERBS, method) ? VERBS[method]?.[0] : undefined;
}

/** The right that a request needs; undefined where no right covers its method. */
export function attributesOf(method: string, target: Target): Attributes | undefined {
  const verbs = Object.hasOwn(VERBS, method) ? VERBS[method] : undefined;
  if (verbs === undefined) return undefined;
  const { version, namespace, resource, name, subresource } = target;
  const base = { group: GROUP, version, namespace, resource };
  if (name === "") return { ...base, verb: verbs[1] };
  return { ...base, verb: verbs[0], name, subresource };
}
