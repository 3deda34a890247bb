import { X509Certificate } from "node:crypto";
import { TrineError } from "@trine/base";

/** From when to when a certificate is valid, as epoch. */
export interface Validity {
  readonly fromMs: number;
  readonly toMs: number;
}

/** Of the first certificate in a PEM; kind `invalid` where there is none. */
export function validityOf(pem: string): Validity {
  try {
    const { validFromDate, validToDate } = new X509Certificate(pem);
    return { fromMs: validFromDate.getTime(), toMs: validToDate.getTime() };
  } catch (cause) {
    throw new TrineError("invalid", "certificate: is not X.509 in PEM", { cause });
  }
}

/** When two thirds of its life are over: time for the next one, and time to try often. */
export function renewalOf({ fromMs, toMs }: Validity): number {
  return fromMs + ((toMs - fromMs) * 2) / 3;
}
