import { SIGNING_REQUESTS, WorkQueue } from "@trine/kube-client";
import { controlAccount } from "./account.ts";
import { AuthorityKeeper } from "./authority/authority-keeper.ts";
import { type AuthorityState, bundleOf } from "./authority/authority-state.ts";
import { keepCertificate } from "./authority/kept-certificate.ts";
import { keepCopyKey } from "./copy-key.ts";
import { CacheSet } from "./caches.ts";
import { controllersOf } from "./controllers.ts";
import { ownCertificates } from "./own-certificates.ts";
import { type ControlProcess, together } from "./process.ts";
import { registerApi } from "./registrations.ts";
import { NodeSigner } from "./signer/node-signer.ts";

/** Certificates are looked at this often; they are renewed weeks before they end. */
const CERTIFICATES_MS = 600_000;
const SIGNERS = 2;

/** All that only one process may do, until `signal` aborts. */
export async function lead(process: ControlProcess, signal: AbortSignal): Promise<void> {
  const { logger } = process;
  logger.info("leading");
  const caches = new CacheSet(process);
  const known = Promise.withResolvers<AuthorityState>();
  let authority: AuthorityState | undefined;
  const onAuthority = (state: AuthorityState): void => {
    authority = state;
    known.resolve(state);
  };
  const signer = signerOf(process, caches, () => authority);
  const controllers = controllersOf(process, caches.make);
  await together(
    [
      (abort) => keepCertificates(process, onAuthority, abort),
      (abort) => signer(known.promise, abort),
      ...controllers.map((each) => (abort: AbortSignal) => each.run(abort)),
      (abort) => caches.run(abort),
    ],
    signal,
  );
  logger.info("leads no more");
}

/** The authority, our own certificates, and what tells the API server of them. */
async function keepCertificates(
  process: ControlProcess,
  onAuthority: (state: AuthorityState) => void,
  signal: AbortSignal,
): Promise<void> {
  const { client: api, config, logger, metrics } = process;
  const { namespace, service, servicePort: port } = config;
  const keeper = new AuthorityKeeper({ api, namespace, now: Date.now });
  const queue = new WorkQueue({
    onFailure: (_, err, retryMs) => {
      metrics.stepFailed("certificates");
      logger.warn({ err, retryMs }, "certificates are not kept");
    },
  });
  queue.add("certificates");
  await queue.run(
    1,
    async (_, abort) => {
      const state = await keeper.keep(abort);
      for (const kept of ownCertificates(config)) {
        await keepCertificate({ api, namespace, now: Date.now }, kept, state, abort);
      }
      onAuthority(state);
      // Before the webhooks stand: they sign with it.
      await keepCopyKey({ api, namespace }, abort);
      const at = { namespace, name: service, port };
      const account = controlAccount(namespace);
      await registerApi(api, { service: at, authority: bundleOf(state), account }, abort);
      return { afterMs: CERTIFICATES_MS };
    },
    signal,
  );
}

function signerOf(
  process: ControlProcess,
  caches: CacheSet,
  authority: () => AuthorityState | undefined,
): (known: Promise<unknown>, signal: AbortSignal) => Promise<void> {
  const { client: api, logger, metrics } = process;
  const requests = caches.make(SIGNING_REQUESTS);
  const queue = new WorkQueue({
    onFailure: (request, err, retryMs) => {
      metrics.stepFailed("signer");
      logger.warn({ err, request, retryMs }, "certificate request is not decided");
    },
  });
  requests.onChange((_, after) => {
    if (after !== undefined) queue.add(after.metadata.name);
  });
  const signer = new NodeSigner({
    api,
    requests,
    authority: () => {
      const state = authority();
      if (state === undefined) throw new Error("the signer works before there is an authority");
      return state;
    },
    now: () => new Date(),
    onDecided: (request, node, why) => {
      metrics.decided(why);
      logger.info({ request, node, why }, why === undefined ? "approved" : "denied");
    },
  });
  return async (known, signal) => {
    const stopped = new Promise<void>((resolve) => {
      signal.addEventListener("abort", () => {
        resolve();
      });
    });
    await Promise.race([known, stopped]);
    await queue.run(SIGNERS, (name, abort) => signer.reconcile(name, abort), signal);
  };
}
