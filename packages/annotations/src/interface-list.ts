import { bad, good } from "./parse-result.ts";
import type { ParseResult } from "./parse-result.ts";

/** What is said of one interface of the pod. */
export interface InterfaceSetting {
  /** Network between the guest and its gateway, a CIDR; of masquerade only, as the two after it. */
  readonly ipv4?: string;
  readonly ipv6?: string;
  /** Of the pod's address, those that are the machine's. */
  readonly ports?: readonly PortSpan[];
  /** Whether the guest's card has its cable. */
  readonly link?: "up" | "down";
}

/** Both ends are in it. */
interface PortSpan {
  readonly protocol: "tcp" | "udp";
  readonly first: number;
  readonly last: number;
}

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,14}$/;
const IPV4 = /^((25[0-5]|2[0-4]\d|1?\d?\d)(\.(?!\/)|(?=\/))){4}\/([1-9]|[12]\d|30)$/;
const IPV6 = /^[0-9a-fA-F:]{2,39}$/;
/** Two addresses at least, and none of them the network's own. */
const IPV6_PREFIX = /^([1-9]|[1-9]\d|1[01]\d|12[0-6])$/;
const PORT = /^([1-9]\d{0,4})(?:-([1-9]\d{0,4}))?(?:\/(tcp|udp))?$/;
const MAX_PORT = 65_535;
const MAX_PORTS = 256;

export const ALLOWED_INTERFACES =
  "each to a mapping with any of ipv4 (a CIDR of at most 30 bits), ipv6 (of at most 126 bits), ports (PORT, FIRST-LAST, PORT/udp …, with commas between them) and link (up or down)";

/** Reads a mapping of interfaces, each to what is said of it. */
export function parseInterfaces(
  mapping: Readonly<Record<string, unknown>>,
  { maxCount }: { readonly maxCount: number },
): ParseResult<Readonly<Record<string, InterfaceSetting>>> {
  const entries = Object.entries(mapping);
  if (entries.length > maxCount) return bad(`has ${entries.length} interfaces`);
  const settings = new Map<string, InterfaceSetting>();
  for (const [name, said] of entries) {
    if (!NAME.test(name)) return bad(`has ${shown(name)}, which is no interface's name`);
    if (typeof said !== "object" || said === null || Array.isArray(said)) {
      return bad(`has ${name} ${shown(said)}, which is no mapping`);
    }
    const setting: Record<string, unknown> = {};
    for (const [field, value] of Object.entries(said)) {
      const read = Object.hasOwn(FIELDS, field)
        ? FIELDS[field as keyof InterfaceSetting]
        : undefined;
      const result = read?.(typeof value === "number" ? String(value) : value);
      if (result === undefined) return bad(`has ${name} with ${shown(field)} ${shown(value)}`);
      setting[field] = result;
    }
    settings.set(name, setting);
  }
  return good(Object.fromEntries(settings));
}

type Reader<T> = (value: unknown) => T | undefined;

const FIELDS: { readonly [K in keyof InterfaceSetting]-?: Reader<InterfaceSetting[K]> } = {
  ipv4: (value) => (typeof value === "string" && IPV4.test(value) ? value : undefined),
  ipv6: (value) => (typeof value === "string" && isIPv6Network(value) ? value : undefined),
  ports: (value) => (typeof value === "string" ? parsePortSpans(value) : undefined),
  link: (value) => (value === "up" || value === "down" ? value : undefined),
};

function isIPv6Network(text: string): boolean {
  const [address = "", prefix = "", ...more] = text.split("/");
  const isAddress = IPV6.test(address) && URL.canParse(`http://[${address}]`);
  return isAddress && IPV6_PREFIX.test(prefix) && more.length === 0;
}

function parsePortSpans(text: string): PortSpan[] | undefined {
  const entries = text.split(",").map((entry) => PORT.exec(entry.trim()));
  if (entries.length > MAX_PORTS) return undefined;
  const spans = entries.flatMap((entry): PortSpan[] => {
    const [, start = "", end = start, protocol = "tcp"] = entry ?? [];
    const [first, last] = [Number(start), Number(end)];
    const isSpan = entry !== null && first <= last && last <= MAX_PORT;
    return isSpan ? [{ protocol: protocol === "udp" ? "udp" : "tcp", first, last }] : [];
  });
  return spans.length === entries.length ? spans : undefined;
}

const SHOWN_CHARACTERS = 40;

function shown(value: unknown): string {
  const text = JSON.stringify(value) as string | undefined;
  return (text ?? typeof value).slice(0, SHOWN_CHARACTERS);
}
