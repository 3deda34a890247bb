import type { AccessCredential } from "../kubevirt/access-credentials.ts";
import type { Volume } from "../kubevirt/volumes.ts";
import { exactlyOne, filled } from "./fields.ts";
import type { Report } from "./report.ts";

/** Keys and passwords for the guest, and the way they get there. */
export function checkCredentials(
  credentials: readonly AccessCredential[],
  volumes: readonly Volume[],
  at: string,
  report: Report,
): void {
  credentials.forEach((credential, index) => {
    const field = `${at}[${index}]`;
    exactlyOne(credential, ["sshPublicKey", "userPassword"], field, report);
    const { sshPublicKey, userPassword } = credential;
    if (sshPublicKey !== undefined)
      checkKeys(sshPublicKey, volumes, `${field}.sshPublicKey`, report);
    if (userPassword === undefined) return;
    const { source, propagationMethod } = userPassword;
    const secret = `${field}.userPassword.source.secret.secretName`;
    filled(source.secret?.secretName, secret, report);
    const way = `${field}.userPassword.propagationMethod`;
    exactlyOne(propagationMethod, ["qemuGuestAgent"], way, report);
  });
}

function checkKeys(
  { source, propagationMethod }: NonNullable<AccessCredential["sshPublicKey"]>,
  volumes: readonly Volume[],
  at: string,
  report: Report,
): void {
  filled(source.secret?.secretName, `${at}.source.secret.secretName`, report);
  const way = `${at}.propagationMethod`;
  exactlyOne(propagationMethod, ["configDrive", "noCloud", "qemuGuestAgent"], way, report);
  const { configDrive, noCloud, qemuGuestAgent } = propagationMethod;
  const has = (kind: "cloudInitConfigDrive" | "cloudInitNoCloud"): boolean =>
    volumes.some((volume) => volume[kind] !== undefined);
  if (configDrive !== undefined && !has("cloudInitConfigDrive")) {
    report.invalid(`${way}.configDrive`, "needs a volume of cloudInitConfigDrive");
  }
  if (noCloud !== undefined && !has("cloudInitNoCloud")) {
    report.invalid(`${way}.noCloud`, "needs a volume of cloudInitNoCloud");
  }
  if (qemuGuestAgent?.users.length === 0) report.required(`${way}.qemuGuestAgent.users`);
}
