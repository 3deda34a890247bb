import { jsonAsYaml } from "./json-yaml.ts";
import { requireValid } from "./require-valid.ts";
import { mappingOf } from "./yaml-text.ts";

type Mapping = Readonly<Record<string, unknown>>;

/** Network configuration that a user wrote, as that kind of seed has it. Kind `invalid` for what its readers would pass over. */
export function userNetwork(text: string | Mapping, kind: "nocloud" | "configdrive"): Buffer {
  const given = mappingOf(text, "network data");
  if (kind === "configdrive") {
    const { links, networks } = given;
    const isData = Array.isArray(links) && Array.isArray(networks);
    requireValid(isData, "network data", "network_data.json has the lists links and networks");
    return jsonAsYaml(given);
  }
  // As in cloud-init's own files; its readers of seeds take it without only.
  const inner = Object.keys(given).length === 1 ? (given["network"] ?? given) : given;
  const { version } = inner as { version?: unknown };
  requireValid(version === 1 || version === 2, "network data", "version is to be 1 or 2");
  return jsonAsYaml(inner);
}
