import { parseQuantity } from "@trine/annotations";
import { parseAllDocuments, stringify } from "yaml";

const MIB = 1024 * 1024;
const GVISOR = {
  apiVersion: "node.k8s.io/v1",
  kind: "RuntimeClass",
  metadata: { name: "gvisor" },
  handler: "gvisor",
};

/** Bytes of memory that a pod is charged beyond its containers', by handler. */
export type Overheads = ReadonlyMap<string, number>;

interface RuntimeClass {
  readonly handler: string;
  readonly overhead?: { readonly podFixed: Readonly<Record<string, string>> };
}

/** The RuntimeClasses of a release (share/trine/kubernetes) with these overheads, and gVisor's where that is wanted. */
export function runtimeClasses(
  shipped: string,
  of: { readonly gvisor: boolean; readonly overheads: Overheads },
): string {
  const classes = classesIn(shipped).map((each) => {
    return withOverhead(each, of.overheads.get(each.handler));
  });
  return [...classes, ...(of.gvisor ? [GVISOR] : [])].map((each) => stringify(each)).join("---\n");
}

/** What the classes of a text charge. */
export function overheadsIn(text: string): Overheads {
  const known = classesIn(text).flatMap(({ handler, overhead }): [string, number][] => {
    const bytes = parseQuantity(overhead?.podFixed["memory"] ?? "");
    return bytes === undefined ? [] : [[handler, Number(bytes)]];
  });
  return new Map(known);
}

/** Never below what ships: machines are refused where their pod is charged less than trined itself counts with. */
export function raisedOverheads(shipped: string, measured: Overheads): Overheads {
  const raised = [...overheadsIn(shipped)].map(([handler, bytes]): [string, number] => {
    return [handler, Math.max(bytes, measured.get(handler) ?? 0)];
  });
  return new Map(raised);
}

function classesIn(text: string): RuntimeClass[] {
  const documents = parseAllDocuments(text).map((each) => each.toJS() as RuntimeClass | null);
  return documents.filter((each) => typeof each?.handler === "string") as RuntimeClass[];
}

function withOverhead(of: RuntimeClass, bytes: number | undefined): RuntimeClass {
  if (bytes === undefined) return of;
  const memory = `${Math.ceil(bytes / MIB)}Mi`;
  return { ...of, overhead: { podFixed: { ...of.overhead?.podFixed, memory } } };
}
