import type { PodAddress } from "./pod-interface.ts";

/** An IPv6 address as one 128-bit number. */
export function hexOf(address: string): string {
  const [head = "", tail] = address.split("::", 2);
  const before = groupsOf(head);
  const after = groupsOf(tail ?? "");
  const zeros = Array<string>(Math.max(0, 8 - before.length - after.length)).fill("0");
  return `0x${[...before, ...zeros, ...after].map((group) => group.padStart(4, "0")).join("")}`;
}

/** Groups of hexadecimal digits; a trailing dotted quad makes two. */
function groupsOf(text: string): string[] {
  return text
    .split(":")
    .filter((group) => group !== "")
    .flatMap((group) => {
      if (!group.includes(".")) return [group];
      const [a = 0, b = 0, c = 0, d = 0] = group.split(".").map(Number);
      return [(a * 256 + b).toString(16), (c * 256 + d).toString(16)];
    });
}

/** The network of an address, as a CIDR. */
export function networkOf({ family, address, prefix }: PodAddress): string {
  const number = bitsOf(family, address);
  if (family === "ipv4") return `${dotted(clear(number, 32 - prefix))}/${prefix}`;
  const digits = clear(number, 128 - prefix)
    .toString(16)
    .padStart(32, "0");
  return `${digits.match(/.{4}/g)?.join(":") ?? ""}/${prefix}`;
}

/** The n-th address of a network, with its prefix. */
export function hostOf({ family, address, prefix }: PodAddress, number: bigint): PodAddress {
  const bits = family === "ipv4" ? 32 : 128;
  const base = clear(bitsOf(family, address), bits - prefix) + number;
  if (family === "ipv4") return { family, address: dotted(base), prefix };
  const groups = base.toString(16).padStart(32, "0").match(/.{4}/g) ?? [];
  // As everybody else writes it: with its zeros left out.
  const { hostname } = new URL(`http://[${groups.join(":")}]`);
  return { family, address: hostname.slice(1, -1), prefix };
}

function bitsOf(family: PodAddress["family"], address: string): bigint {
  if (family === "ipv6") return BigInt(hexOf(address));
  return address.split(".").reduce((sum, part) => sum * 256n + BigInt(part), 0n);
}

function dotted(bits: bigint): string {
  return [24n, 16n, 8n, 0n].map((shift) => (bits >> shift) & 0xffn).join(".");
}

/** Whether two networks have an address in common. */
export function overlaps(one: PodAddress, other: PodAddress): boolean {
  const prefix = Math.min(one.prefix, other.prefix);
  const within = (each: PodAddress): string => networkOf({ ...each, prefix });
  return one.family === other.family && within(one) === within(other);
}

function clear(number: bigint, bits: number): bigint {
  return (number >> BigInt(bits)) << BigInt(bits);
}
