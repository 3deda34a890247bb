import { isIP } from "node:net";
import { TrineError } from "@trine/base";

export interface DnsConfig {
  readonly nameservers: readonly string[];
  readonly search: readonly string[];
}

const MAX_CHARACTERS = 64 * 1024;
/** glibc reads 3 nameservers; Kubernetes writes at most 32 search domains (KEP-2595). */
const MAX_NAMESERVERS = 3;
const MAX_SEARCH = 32;
const DOMAIN = /^(?=.{1,253}$)[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?$/;

/**
 * resolv.conf(5) of the sandbox. Options are left out: guests have no common way to be told. A
 * resolver on loopback is left out too: in the guest that is the guest itself.
 */
export function parseResolvConf(text: string): DnsConfig {
  if (text.length > MAX_CHARACTERS) {
    throw new TrineError("invalid", `resolv.conf: longer than ${MAX_CHARACTERS} characters`);
  }
  const nameservers: string[] = [];
  let search: string[] = [];
  for (const line of text.split("\n")) {
    const [keyword, ...values] = line
      .replace(/[#;].*$/, "")
      .trim()
      .split(/\s+/);
    if (keyword === "nameserver" && values[0] !== undefined) nameservers.push(values[0]);
    // The last of "search" and "domain" rules.
    if (keyword === "search") search = values;
    if (keyword === "domain") search = values.slice(0, 1);
  }
  const usable = nameservers.filter((a) => isIP(a) !== 0 && !a.startsWith("127.") && a !== "::1");
  const domains = search.map((name) => name.replace(/\.$/, "")).filter((name) => DOMAIN.test(name));
  return {
    nameservers: [...new Set(usable)].slice(0, MAX_NAMESERVERS),
    search: [...new Set(domains)].slice(0, MAX_SEARCH),
  };
}
