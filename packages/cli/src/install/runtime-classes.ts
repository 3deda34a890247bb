import { parseAllDocuments, stringify } from "yaml";

const MIB = 1024 * 1024;
const GVISOR = {
  apiVersion: "node.k8s.io/v1",
  kind: "RuntimeClass",
  metadata: { name: "gvisor" },
  handler: "gvisor",
};

interface RuntimeClass {
  readonly handler: string;
  readonly overhead?: { readonly podFixed: Readonly<Record<string, string>> };
}

/**
 * The RuntimeClasses of a release (share/trine/kubernetes), with gVisor's where that is wanted, and with the memory
 * that a pod of a handler was measured to cost.
 */
export function runtimeClasses(
  shipped: string,
  of: { readonly gvisor: boolean; readonly overheadBytes?: ReadonlyMap<string, number> },
): string {
  const classes = parseAllDocuments(shipped).map((each) => each.toJS() as RuntimeClass);
  const measured = classes.map((each) => withOverhead(each, of.overheadBytes?.get(each.handler)));
  return [...measured, ...(of.gvisor ? [GVISOR] : [])].map((each) => stringify(each)).join("---\n");
}

function withOverhead(of: RuntimeClass, bytes: number | undefined): RuntimeClass {
  if (bytes === undefined) return of;
  const memory = `${Math.ceil(bytes / MIB)}Mi`;
  return { ...of, overhead: { podFixed: { ...of.overhead?.podFixed, memory } } };
}
