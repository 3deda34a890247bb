import { TrineError, messageOf, sleep } from "@trine/base";
import { renewalOf, validityOf } from "@trine/certificates";
import { CONFIG_MAPS } from "@trine/kube-client";
import type { KubeApi } from "@trine/kube-client";
import type { DoorCredentials } from "@trine/node-door";
import type { Logger } from "pino";
import { isSignedBy, readIdentity, writeIdentity } from "./kept-identity.ts";
import type { KeptIdentity } from "./kept-identity.ts";
import { addressesOf, requestCertificate } from "./request-certificate.ts";

const AUTHORITY = { namespace: "kube-public", name: "trine-authority" };
const AUTHORITY_KEY = "ca.crt";
const CHECK_MS = 5 * 60 * 1_000;
const RETRY_MS = { first: 2_000, longest: 60_000 };

export interface ClusterCredentials {
  readonly kube: KubeApi;
  readonly node: string;
  /** Where the certificate is kept. */
  readonly file: string;
  /** PEM of the callers' authority, where it is not the cluster's ConfigMap. */
  readonly authority?: () => Promise<string>;
  readonly log: Logger;
  readonly now?: () => number;
  readonly everyMs?: number;
}

/**
 * The node's certificate from the cluster's signer, and each that follows it. One that is kept is used at once, also while
 * the API server is away; it is renewed when two thirds of its life are over, the node's addresses have changed, or the cluster
 * has another authority, which does not believe it.
 */
export async function* clusterCredentials(
  of: ClusterCredentials,
  signal: AbortSignal,
): AsyncGenerator<DoorCredentials> {
  const { log, file, node, now = Date.now } = of;
  let kept = await readIdentity(file, node);
  if (kept !== undefined && validityOf(kept.certificate).toMs > now()) yield kept;
  for (let retryMs = RETRY_MS.first; !signal.aborted;) {
    let waitMs = of.everyMs ?? CHECK_MS;
    try {
      const next = await refreshed(of, kept, signal);
      if (next !== undefined) {
        await writeIdentity(file, next);
        yield next;
      }
      kept = next ?? kept;
      retryMs = RETRY_MS.first;
    } catch (cause) {
      if (isAborted(signal)) return;
      log.warn({ err: messageOf(cause) }, "door: the node's certificate");
      waitMs = of.everyMs ?? retryMs;
      retryMs = Math.min(2 * retryMs, RETRY_MS.longest);
    }
    await sleep(waitMs, signal).catch(() => undefined); // the loop's head sees it
  }
}

/** Undefined when what there is will do. */
async function refreshed(
  of: ClusterCredentials,
  kept: KeptIdentity | undefined,
  signal: AbortSignal,
): Promise<KeptIdentity | undefined> {
  const { kube, node, now = Date.now } = of;
  const authority = await (of.authority?.() ?? authorityOf(kube, signal));
  const addresses = await addressesOf(kube, node, signal);
  // Whoever gives its callers' authority by hand says nothing of who signs for the node.
  const isBelieved =
    kept !== undefined && (of.authority !== undefined || isSignedBy(kept.certificate, authority));
  const isGood =
    isBelieved &&
    now() < renewalOf(validityOf(kept.certificate)) &&
    JSON.stringify(kept.addresses) === JSON.stringify(addresses);
  if (isGood) return kept.authority === authority ? undefined : { ...kept, authority };
  const issued = await requestCertificate(kube, { node, addresses }, signal, of.everyMs);
  of.log.info({ node, addresses }, "door: the node has a new certificate");
  return { ...issued, authority, addresses };
}

/** Not there before the control plane is: kind `notFound`. */
async function authorityOf(kube: KubeApi, signal: AbortSignal): Promise<string> {
  const { data } = await kube.get(CONFIG_MAPS, AUTHORITY, signal);
  const authority = data?.[AUTHORITY_KEY];
  if (authority !== undefined && authority.includes("BEGIN CERTIFICATE")) return authority;
  const what = `ConfigMap ${AUTHORITY.namespace}/${AUTHORITY.name}`;
  throw new TrineError("wrongState", `${what} has no certificate in ${AUTHORITY_KEY}`);
}

function isAborted(signal: AbortSignal): boolean {
  return signal.aborted;
}
