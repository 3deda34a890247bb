import type { Cache, Secret } from "@trine/kube-client";
import type { ServingCertificate } from "@trine/virt-api";
import { readKept } from "./authority/kept-certificate.ts";
import { SERVING } from "./own-certificates.ts";

/** The certificate that this program serves with, as the leader makes it and makes it anew. */
export class ServingCertificates {
  readonly #first = Promise.withResolvers<ServingCertificate>();
  readonly #stop: () => void;
  #tell: ((next: ServingCertificate) => void) | undefined;

  constructor(secrets: Cache<Secret>, namespace: string) {
    this.#stop = secrets.onChange((_, after) => {
      const { namespace: of, name } = after?.metadata ?? {};
      const kept = after !== undefined && of === namespace && name === SERVING && readKept(after);
      if (kept === false || kept === undefined) return;
      this.#first.resolve(kept);
      this.#tell?.(kept);
    });
  }

  onNext(tell: (next: ServingCertificate) => void): void {
    this.#tell = tell;
  }

  /** Nothing where `signal` aborts before there is one. */
  first(signal: AbortSignal): Promise<ServingCertificate | undefined> {
    return Promise.race([this.#first.promise, untilAborted(signal)]);
  }

  close(): void {
    this.#stop();
  }
}

export function untilAborted(signal: AbortSignal): Promise<undefined> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve(undefined);
    signal.addEventListener("abort", () => {
      resolve(undefined);
    });
  });
}
