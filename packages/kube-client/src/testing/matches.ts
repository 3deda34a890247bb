import { TrineError } from "@trine/base";
import type { Selection } from "../kube-api.ts";
import type { KubeObject } from "../object.ts";

/** Whether a list with this selection has the object. Selectors by sets are beyond the twin. */
export function matches(object: KubeObject, within: Selection): boolean {
  const { metadata = {} } = object;
  if (within.namespace !== undefined && metadata.namespace !== within.namespace) return false;
  const labels = terms(within.labelSelector).every((term) =>
    holds(term, (name) => metadata.labels?.[name]),
  );
  return labels && terms(within.fieldSelector).every((term) => holds(term, fieldIn(object)));
}

function terms(selector: string | undefined): string[] {
  return (selector ?? "").split(",").filter((term) => term !== "");
}

function holds(term: string, valueOf: (name: string) => string | undefined): boolean {
  if (term.includes("(")) throw new TrineError("unimplemented", `twin: selector ${term}`);
  const [, name = "", sign = "", value = ""] = /^([^=!]*)(!=|==?)?(.*)$/.exec(term) ?? [];
  if (sign === "!=") return valueOf(name) !== value;
  if (sign !== "") return valueOf(name) === value;
  if (term.startsWith("!")) return valueOf(term.slice(1)) === undefined;
  return valueOf(name) !== undefined;
}

function fieldIn(object: object): (path: string) => string | undefined {
  return (path) => {
    let value: unknown = object;
    for (const name of path.split(".")) {
      value = (value as Record<string, unknown> | undefined)?.[name];
    }
    return typeof value === "string" ? value : undefined;
  };
}
