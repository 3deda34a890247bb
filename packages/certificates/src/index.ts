export { certify, createAuthority, issue } from "./issue.ts";
export { createRequest, readRequest } from "./signing-request.ts";
export type { SigningRequest } from "./signing-request.ts";
export { renewalOf, validityOf } from "./validity.ts";
export type { Validity } from "./validity.ts";
export { canonicalAddress } from "./x509.ts";
export type { KeyedCertificate, Subject } from "./x509.ts";
