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
  if (family === "ipv4") {
    const number = address.split(".").reduce((sum, part) => sum * 256n + BigInt(part), 0n);
    const base = clear(number, 32 - prefix);
    const parts = [24n, 16n, 8n, 0n].map((shift) => (base >> shift) & 0xffn);
    return `${parts.join(".")}/${prefix}`;
  }
  const digits = clear(BigInt(hexOf(address)), 128 - prefix)
    .toString(16)
    .padStart(32, "0");
  return `${digits.match(/.{4}/g)?.join(":") ?? ""}/${prefix}`;
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
