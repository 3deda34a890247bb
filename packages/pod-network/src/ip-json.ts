import { TrineError } from "@trine/base";

/** The parts of `ip -j` that are read here; anything else in its objects is ignored. */
export interface IpLink {
  readonly name: string;
  readonly linkType: string;
  readonly mac: string;
  readonly mtu: number;
  readonly isUp: boolean;
  /** A port of a bridge or a bond: what it carries is the other's. */
  readonly isPort: boolean;
  readonly addresses: readonly { family: string; local: string; prefix: number; scope: string }[];
}

export interface IpRoute {
  readonly type: string;
  readonly table: string;
  readonly to: string;
  readonly device: string;
  readonly gateway: string | undefined;
  /** A gateway of the other family (RFC 5549). */
  readonly foreignGateway: boolean;
  readonly kernel: boolean;
  readonly ipv6: boolean;
  readonly mtu: number | undefined;
  /** 0 = the kernel's own. */
  readonly metric: number;
}

type Json = Readonly<Record<string, unknown>>;

/** The arrays that `ip -j -batch` prints, one for each of its commands. */
export function parseIpBatch(stdout: string, commands: number): readonly (readonly Json[])[] {
  const arrays = stdout
    .split("\n")
    .filter((line) => line.trim() !== "")
    .map((line) => objects(parseJson(line)));
  if (arrays.length === commands) return arrays;
  throw new TrineError("internal", `ip printed ${arrays.length} lists for ${commands} commands`);
}

function parseJson(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch (cause) {
    throw new TrineError("internal", "ip -j printed something that is not JSON", { cause });
  }
}

export function parseLink(json: Json): IpLink {
  return {
    name: text(json["ifname"]),
    linkType: text(json["link_type"]),
    mac: text(json["address"]).toLowerCase(),
    mtu: number(json["mtu"]) ?? 0,
    isUp: Array.isArray(json["flags"]) && json["flags"].includes("UP"),
    isPort: json["master"] !== undefined,
    addresses: objects(json["addr_info"]).map((info) => ({
      family: text(info["family"]),
      local: text(info["local"]),
      prefix: number(info["prefixlen"]) ?? -1,
      scope: text(info["scope"]),
    })),
  };
}

/** A route; the first next hop of a multipath one. */
export function parseRoute(json: Json): IpRoute {
  const hop = objects(json["nexthops"])[0] ?? json;
  const to = text(json["dst"]);
  const gateway = optional(hop["gateway"]);
  return {
    type: optional(json["type"]) ?? "unicast",
    table: optional(json["table"]) ?? "main",
    to,
    device: text(hop["dev"]),
    gateway,
    foreignGateway: hop["via"] !== undefined,
    kernel: json["protocol"] === "kernel",
    // "default" is written alike in both families; only IPv6 routes have a preference.
    ipv6: to.includes(":") || (gateway?.includes(":") ?? json["pref"] !== undefined),
    mtu: objects(json["metrics"])
      .map((metric) => number(metric["mtu"]))
      .find((mtu) => mtu !== undefined),
    metric: number(json["metric"]) ?? 0,
  };
}

function objects(value: unknown): readonly Json[] {
  if (!Array.isArray(value)) return [];
  return value.filter((one): one is Json => typeof one === "object" && one !== null);
}

const text = (value: unknown): string => (typeof value === "string" ? value : "");
const optional = (value: unknown): string | undefined =>
  typeof value === "string" && value !== "" ? value : undefined;
const number = (value: unknown): number | undefined =>
  typeof value === "number" && Number.isSafeInteger(value) ? value : undefined;
