import { parse } from "yaml";
import { COMPUTE } from "./networks.ts";
import { type Parts, refused } from "./parts.ts";

/** On an instance: containers of its pod beside the machine, a list in YAML or JSON. */
export const CONTAINERS = "trine.dev/containers";

const MAX_BYTES = 16 * 1024;
const MAX_CONTAINERS = 16;
const NAME = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;

/**
 * What a container beside a machine may say. Who may write an instance may not make pods for that: what reaches the
 * node (privilege, devices, the host's namespaces) is not among it.
 */
const FIELDS: readonly string[] = [
  ...["name", "image", "imagePullPolicy", "command", "args", "workingDir", "env", "ports"],
  ...["resources", "volumeMounts", "livenessProbe", "readinessProbe", "startupProbe"],
  ...["terminationMessagePath", "terminationMessagePolicy"],
];

/** As restricted as a container can be, whatever the cluster allows. */
const RESTRICTED = {
  allowPrivilegeEscalation: false,
  capabilities: { drop: ["ALL"] },
  seccompProfile: { type: "RuntimeDefault" },
};

/** The containers that an instance's annotation asks for. */
export function besideParts(annotations: Readonly<Record<string, string>> = {}): Parts {
  const text = annotations[CONTAINERS];
  if (text === undefined) return {};
  const at = `metadata.annotations[${CONTAINERS}]`;
  const found = read(text);
  if (typeof found === "string") return refused(at, found);
  const beside = found.map((each) => ({ ...each, securityContext: RESTRICTED }));
  return { beside };
}

type Container = Readonly<Record<string, unknown>> & { readonly name: string };

/** The containers, or what is wrong with them. */
function read(text: string): readonly Container[] | string {
  if (Buffer.byteLength(text) > MAX_BYTES) return `more than ${MAX_BYTES} bytes`;
  let value: unknown;
  try {
    value = parse(text, { maxAliasCount: 0 });
  } catch {
    return "is neither YAML nor JSON, or has aliases";
  }
  if (!Array.isArray(value)) return "is not a list of containers";
  if (value.length > MAX_CONTAINERS) return `more than ${MAX_CONTAINERS} containers`;
  const names = new Set([COMPUTE]);
  const wrong = value
    .map((each: unknown, index) => faultOf(each, index, names))
    .find((why) => why !== undefined);
  return wrong ?? (value as Container[]);
}

function faultOf(each: unknown, index: number, names: Set<string>): string | undefined {
  const where = `container ${index + 1}`;
  if (typeof each !== "object" || each === null || Array.isArray(each))
    return `${where}: is no mapping`;
  const { name, image } = each as Record<string, unknown>;
  if (typeof name !== "string" || !NAME.test(name)) return `${where}: name is to be a DNS label`;
  if (names.has(name)) return `${where}: the name ${name} is taken`;
  names.add(name);
  if (typeof image !== "string" || image === "") return `${where} (${name}): image is missing`;
  const other = Object.keys(each).find((key) => !FIELDS.includes(key));
  if (other === undefined) return undefined;
  return `${where} (${name}): ${JSON.stringify(other.slice(0, 60))} is not for it: ${FIELDS.join(", ")} are`;
}
