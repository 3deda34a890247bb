import { TrineError, kindOf, pollUntil } from "@trine/base";
import { createRequest } from "@trine/certificates";
import { NODES, SIGNING_REQUESTS } from "@trine/kube-client";
import type { KubeApi } from "@trine/kube-client";
import { belongs } from "./kept-identity.ts";

const SIGNER = "trine.dev/node";
/** The control plane answers at once where it is there. */
const SOON = { ms: 60_000, everyMs: 2_000 } as const;
/** Where it is not, it may come after days: one request waits for it, until Kubernetes forgets that (24 h). */
const LATER = { ms: 24 * 60 * 60 * 1_000, everyMs: 60_000 } as const;

/** Where a node can be reached, as the cluster knows it; sorted. */
export async function addressesOf(
  kube: KubeApi,
  node: string,
  signal: AbortSignal,
): Promise<string[]> {
  const { status } = await kube.get(NODES, { name: node }, signal);
  const addresses = (status?.addresses ?? [])
    .filter(({ type }) => type === "InternalIP" || type === "ExternalIP")
    .map(({ address }) => address);
  return [...new Set(addresses)].sort();
}

/** A new key and a certificate of it by the cluster's signer. Kind `forbidden` when it was denied. */
export async function requestCertificate(
  kube: KubeApi,
  { node, addresses }: { readonly node: string; readonly addresses: readonly string[] },
  signal: AbortSignal,
  everyMs?: number,
): Promise<{ readonly certificate: string; readonly key: string }> {
  const subject = { name: `trine-node:${node}`, dnsNames: [node], addresses };
  const { request, key } = await createRequest(subject);
  const { metadata } = await kube.create(
    SIGNING_REQUESTS,
    {
      apiVersion: "certificates.k8s.io/v1",
      kind: "CertificateSigningRequest",
      metadata: { generateName: "trine-node-" },
      spec: {
        request: Buffer.from(request).toString("base64"),
        signerName: SIGNER,
        usages: ["digital signature", "server auth"],
      },
    },
    { signal },
  );
  const at = { name: metadata.name };
  const look = async (): Promise<string | undefined> => {
    const { status } = await kube.get(SIGNING_REQUESTS, at, signal);
    const refused = status?.conditions?.find(({ type }) => type === "Denied" || type === "Failed");
    if (refused !== undefined) {
      throw new TrineError("forbidden", `certificate request ${at.name}: ${refused.type}`);
    }
    return status?.certificate;
  };
  const until = (wait: typeof SOON | typeof LATER): Promise<string> => {
    const waiting = { ms: wait.ms, everyMs: everyMs ?? wait.everyMs, signal };
    return pollUntil(`certificate request ${at.name}`, waiting, look);
  };
  const certificate = await until(SOON).catch((cause: unknown) => {
    if (kindOf(cause) !== "timeout") throw cause;
    return until(LATER);
  });
  const issued = { certificate: Buffer.from(certificate, "base64").toString("utf8"), key };
  if (belongs(issued, node)) return issued;
  throw new TrineError("malformed", `certificate request ${at.name}: another's was issued`);
}
