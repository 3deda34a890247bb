import { isDeepStrictEqual } from "node:util";
import type { Cache, Secret } from "@trine/kube-client";
import type { ServingCertificate } from "@trine/virt-api";
import { readKept } from "./authority/kept-certificate.ts";
import { SERVING } from "./own-certificates.ts";

/** The certificate that this program serves with, as the leader makes it and makes it anew. */
export class ServingCertificates {
  readonly #first = Promise.withResolvers<ServingCertificate>();
  readonly #stop: () => void;
  #tell: ((next: ServingCertificate) => void) | undefined;
  /** What whoever serves knows of. */
  #told: ServingCertificate | undefined;
  #latest: ServingCertificate | undefined;

  constructor(secrets: Cache<Secret>, namespace: string) {
    this.#stop = secrets.onChange((_, after) => {
      const { namespace: of, name } = after?.metadata ?? {};
      const kept = after !== undefined && of === namespace && name === SERVING && readKept(after);
      if (kept === false || kept === undefined) return;
      this.#latest = kept;
      this.#first.resolve(kept);
      this.#tellLatest();
    });
  }

  /** Of each that comes after the first, also of one that has come by now. */
  onNext(tell: (next: ServingCertificate) => void): void {
    this.#tell = tell;
    this.#tellLatest();
  }

  /** Nothing where `signal` aborts before there is one. */
  async first(signal: AbortSignal): Promise<ServingCertificate | undefined> {
    this.#told = await Promise.race([this.#first.promise, untilAborted(signal)]);
    return this.#told;
  }

  #tellLatest(): void {
    const latest = this.#latest;
    if (latest === undefined || this.#tell === undefined) return;
    if (isDeepStrictEqual(latest, this.#told)) return;
    this.#told = latest;
    this.#tell(latest);
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
