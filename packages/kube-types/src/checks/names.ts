import { isIP, isIPv4, isIPv6 } from "node:net";
import { type Report, shown } from "./report.ts";

/** Forms of names, as Kubernetes has them (RFC 1123, RFC 6335). */
const FORMS = {
  label: { pattern: /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/, max: 63, is: "a DNS label" },
  subdomain: {
    pattern: /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/,
    max: 253,
    is: "a DNS name",
  },
  labelValue: {
    pattern: /^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$/,
    max: 63,
    is: "the value of a label",
  },
  portName: {
    pattern: /^(?=.*[a-z])[a-z0-9]+(-[a-z0-9]+)*$/,
    max: 15,
    is: "the name of a port: letters, digits and -, 15 at most",
  },
  deviceName: {
    pattern: /^[A-Za-z0-9_-]+$/,
    max: 63,
    is: "a name of letters, digits, - and _, 63 at most",
  },
  serial: {
    pattern: /^[A-Za-z0-9_.+-]+$/,
    max: 256,
    is: "a serial number of letters, digits and _.+-, 256 at most",
  },
  pciAddress: {
    pattern: /^[\da-fA-F]{4}:[\da-fA-F]{2}:[01][\da-fA-F]\.[0-7]$/,
    max: 12,
    is: "a PCI address, such as 0000:02:00.0",
  },
  uuid: {
    pattern: /^[\da-f]{8}-[\da-f]{4}-[\da-f]{4}-[\da-f]{4}-[\da-f]{12}$/i,
    max: 36,
    is: "a UUID",
  },
} as const;

export type Form = keyof typeof FORMS;

export function hasForm(form: Form, value: string): boolean {
  return value.length <= FORMS[form].max && FORMS[form].pattern.test(value);
}

/** Empty text is as good as nothing. */
export function checkForm(form: Form, value: string | undefined, at: string, report: Report): void {
  if (value === undefined || value === "" || hasForm(form, value)) return;
  report.invalid(at, `is ${shown(value)}, which is not ${FORMS[form].is}`);
}

/** A key of a label: a name, after a DNS name and a slash where it has one. */
export function checkLabelKey(key: string, at: string, report: Report): void {
  const parts = key.split("/");
  const name = parts.at(-1) ?? "";
  const prefixed =
    parts.length === 1 || (parts.length === 2 && hasForm("subdomain", parts[0] ?? ""));
  if (prefixed && name !== "" && hasForm("labelValue", name)) return;
  report.invalid(at, `has the key ${shown(key)}, which is not the key of a label`);
}

const MAC = /^[\da-f]{2}([:-])[\da-f]{2}(?:\1[\da-f]{2}){4}$/i;
/** What masquerade's bridge has. */
const RESERVED_MAC = "02:00:00:00:00:00";

export function checkMac(value: string | undefined, at: string, report: Report): void {
  if (value === undefined || value === "") return;
  if (!MAC.test(value)) {
    report.invalid(at, `is ${shown(value)}, which is not a MAC address of six bytes`);
    return;
  }
  if (value.replaceAll("-", ":").toLowerCase() === RESERVED_MAC) {
    report.invalid(at, `is ${value}, which is reserved`);
  } else if ((Number.parseInt(value.slice(0, 2), 16) & 1) === 1) {
    report.invalid(at, `is ${value}, which is the address of a group`);
  }
}

export function checkAddress(value: string, at: string, report: Report): void {
  if (isIP(value) === 0) report.invalid(at, `is ${shown(value)}, which is not an IP address`);
}

export function checkIPv4(value: string, at: string, report: Report): void {
  if (!isIPv4(value)) report.invalid(at, `is ${shown(value)}, which is not an IPv4 address`);
}

/** Two addresses at least, and none of them the network's own or everybody's. */
const MOST_BITS = { 4: 30, 6: 126 } as const;

/** A network with room for a gateway and a guest as ADDRESS/BITS, of version 4 or 6. */
export function checkCidr(
  version: 4 | 6,
  value: string | undefined,
  at: string,
  report: Report,
): void {
  if (value === undefined || value === "") return;
  const [address = "", bits = "", ...more] = value.split("/");
  const isAddress = version === 4 ? isIPv4(address) : isIPv6(address);
  const most = MOST_BITS[version];
  const isBits = /^[1-9]\d{0,2}$/.test(bits) && Number(bits) <= most;
  if (isAddress && isBits && more.length === 0) return;
  report.invalid(
    at,
    `is ${shown(value)}, which is not a network of IPv${version} with 1 to ${most} bits`,
  );
}
