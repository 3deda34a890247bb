/** Pods that run on a node, as the API server knows them. */
export interface NodePod {
  readonly namespace: string;
  readonly name: string;
}

/** What trined tells; the control plane's own are not a node's to tell. */
const FAMILIES = /^(?:trine_|trined_|kubevirt_vmi_)/;
const NOT_OF_NODES =
  /^(?:trine_control_|kubevirt_vmi_info|kubevirt_vmi_phase_|kubevirt_vmi_non_evictable)/;
/** Whoever reads a node's figures says these. */
const OF_READERS: readonly string[] = ["job", "instance"];
const ABOUT = /^# (?:HELP|TYPE) ([a-zA-Z_:][\w:]*) /;
const SAMPLE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$/;
const LABEL = /([a-zA-Z_]\w*)="((?:[^"\\]|\\["\\n])*)"(?:,|$)/y;
const VALUE = /^(?:[+-]?(?:Inf|\d+(?:\.\d*)?(?:e[+-]?\d+)?)|NaN)$/i;
const MAX_LINE = 16 * 1024;

/**
 * Of what a node tells only what is its own to tell: who reads it believes the labels, and a node that was taken over is not to
 * speak for other nodes or for machines that run elsewhere. How much was left out is said at the end.
 */
export function nodeSamples(text: string, node: string, pods: readonly NodePod[]): string {
  const own = new Set(pods.flatMap(({ namespace, name }) => namesOf(name).map(keyIn(namespace))));
  let leftOut = 0;
  const lines = text.split("\n").flatMap((line) => {
    if (line === "") return [];
    const kept = line.length > MAX_LINE ? undefined : keptOf(line, node, own);
    if (kept === undefined) leftOut += 1;
    return kept ?? [];
  });
  if (leftOut > 0) lines.push(`# ${leftOut} lines were left out: they are not of this node`);
  return `${lines.join("\n")}\n`;
}

function keptOf(line: string, node: string, own: ReadonlySet<string>): string | undefined {
  const [, about] = ABOUT.exec(line) ?? [];
  if (about !== undefined) return isOfNodes(about) ? line : undefined;
  const [, name = "", text = "", value = ""] = SAMPLE.exec(line) ?? [];
  if (!isOfNodes(name) || !VALUE.test(value)) return undefined;
  const labels = labelsOf(text);
  if (labels === undefined || OF_READERS.some((each) => labels.has(each))) return undefined;
  const of = labels.get("node");
  if (of !== undefined && of !== node) return undefined;
  if (!isOfPods(name, labels, own)) return undefined;
  const all = of === undefined ? [`node="${node}"`, ...(text === "" ? [] : [text])] : [text];
  return `${name}{${all.join(",")}} ${value}`;
}

function isOfNodes(family: string): boolean {
  return FAMILIES.test(family) && !NOT_OF_NODES.test(family);
}

/** Nothing for what is no list of labels, or says one twice. */
function labelsOf(text: string): ReadonlyMap<string, string> | undefined {
  const labels = new Map<string, string>();
  LABEL.lastIndex = 0;
  for (let at = 0; at < text.length; at = LABEL.lastIndex) {
    const [, name, value] = LABEL.exec(text) ?? [];
    if (name === undefined || value === undefined || labels.has(name)) return undefined;
    labels.set(name, value);
  }
  return labels;
}

function isOfPods(
  family: string,
  labels: ReadonlyMap<string, string>,
  own: ReadonlySet<string>,
): boolean {
  const namespace = labels.get("namespace");
  const names = [labels.get("name"), labels.get("pod")].filter((name) => name !== undefined);
  if (namespace === undefined && names.length === 0) return !family.startsWith("kubevirt_");
  if (namespace === undefined || names.length === 0) return false;
  return names.every((name) => own.has(keyIn(namespace)(name)));
}

/** A pod goes by its own name, and by that of the instance that the control plane has named it after. */
function namesOf(pod: string): readonly string[] {
  const [, instance] = /^virt-launcher-(.+)-[a-z0-9]+$/.exec(pod) ?? [];
  return instance === undefined ? [pod] : [pod, instance];
}

function keyIn(namespace: string): (name: string) => string {
  return (name) => `${namespace}/${name}`;
}
