import { type SigningRequest, canonicalAddress } from "@trine/certificates";
import type { CertificateSigningRequest, Node } from "@trine/kube-client";

/** The signer of the nodes' door certificates. */
export const NODE_SIGNER = "trine.dev/node";

const USER = "system:node:";
const USAGES: ReadonlySet<string> = new Set(["server auth", "digital signature"]);

/** The node that a request is by, as the API server knows its requester; undefined where it is by none. */
export function requestingNode({ spec }: CertificateSigningRequest): string | undefined {
  const { username = "", groups = [] } = spec;
  if (!username.startsWith(USER) || !groups.includes("system:nodes")) return undefined;
  const name = username.slice(USER.length);
  return name === "" ? undefined : name;
}

/**
 * Why a request is denied; undefined: it may be signed. A node gets a certificate for its own name and addresses, with
 * which it serves, and nothing else.
 */
export function whyDenied(
  csr: CertificateSigningRequest,
  asked: Omit<SigningRequest, "publicKey">,
  node: Node,
): string | undefined {
  const name = node.metadata?.name ?? "";
  const usages = csr.spec.usages ?? [];
  if (!usages.includes("server auth") || usages.some((usage) => !USAGES.has(usage))) {
    return "usages are not server auth, or that and digital signature";
  }
  if (asked.name !== `trine-node:${name}`) return `the common name is not trine-node:${name}`;
  if (asked.organisations.length > 0) return "there is an organisation";
  if (asked.dnsNames.length !== 1 || asked.dnsNames[0] !== name) {
    return `the DNS names are not exactly ${name}`;
  }
  const own = addressesOf(node);
  const foreign = asked.addresses.find((address) => !own.has(address));
  return foreign === undefined ? undefined : `${foreign} is no address of node ${name}`;
}

function addressesOf({ status }: Node): ReadonlySet<string> {
  const addresses = status?.addresses ?? [];
  return new Set(addresses.flatMap(({ address }) => canonicalAddress(address) ?? []));
}
