import { BlockList, isIP } from "node:net";
import { quote } from "@trine/base";
import { requireValid } from "./require-valid.ts";

export interface IpPrefix {
  readonly text: string;
  readonly address: string;
  readonly prefix: number;
  readonly family: "ipv4" | "ipv6";
}

/** Reads ADDRESS/PREFIX; kind `invalid` naming `key` otherwise. */
export function parsePrefix(text: string, key: string): IpPrefix {
  const [address = "", bits = "", ...rest] = text.split("/");
  const family = familyOf(address);
  const prefix = Number(bits);
  const isPrefix = /^\d{1,3}$/.test(bits) && prefix <= (family === "ipv4" ? 32 : 128);
  const isWhole = family !== undefined && isPrefix && rest.length === 0;
  requireValid(isWhole, key, `${quote(text)} is not ADDRESS/PREFIX`);
  return { text, address, prefix, family };
}

/** Undefined for what is no address; zones (`%eth0`) mean nothing in a guest. */
export function familyOf(address: string): "ipv4" | "ipv6" | undefined {
  const version = address.includes("%") ? 0 : isIP(address);
  return version === 4 ? "ipv4" : version === 6 ? "ipv6" : undefined;
}

/** Whether `address` lies in one of the networks. */
export function isInside(address: string, networks: readonly IpPrefix[]): boolean {
  const family = familyOf(address);
  const list = new BlockList();
  for (const network of networks) {
    if (network.family === family) list.addSubnet(network.address, network.prefix, family);
  }
  return family !== undefined && list.check(address, family);
}

export function isLinkLocal6(address: string): boolean {
  const list = new BlockList();
  list.addSubnet("fe80::", 10, "ipv6");
  return familyOf(address) === "ipv6" && list.check(address, "ipv6");
}
