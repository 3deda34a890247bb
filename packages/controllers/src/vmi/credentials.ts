import { isGuestUser } from "@trine/annotations";
import type { AccessCredential, VirtualMachineInstanceSpec } from "@trine/kube-types";
import { mountedSecret } from "./mounted-secret.ts";
import { type Parts, joined, refused } from "./parts.ts";

/** Keys and passwords that the guest's agent gives its users while it runs. */
export function credentialParts({ accessCredentials = [] }: VirtualMachineInstanceSpec): Parts {
  const entries: string[] = [];
  const passwords: string[] = [];
  const refusals: Parts[] = [];
  accessCredentials.forEach((credential, index) => {
    const at = `spec.accessCredentials[${index}].sshPublicKey.propagationMethod.qemuGuestAgent`;
    const { users, ofKeys, ofPasswords } = agentsOf(credential);
    users.forEach((user, place) => {
      if (isGuestUser(user)) entries.push(`${user}=secret/${ofKeys}`);
      else refusals.push(refused(`${at}.users[${place}]`, "is no name of a user"));
    });
    if (ofPasswords !== undefined) passwords.push(`secret/${ofPasswords}`);
  });
  return joined([
    saying("user-keys-from", entries),
    saying("passwords-from", passwords),
    ...[...entries, ...passwords].map((each) => mountedSecret(each.replace(/^.*secret\//, ""))),
    ...refusals,
  ]);
}

/** What of a credential an agent brings; fields that a webhook would ask for may be missing. */
function agentsOf({ sshPublicKey, userPassword }: AccessCredential): {
  readonly users: readonly string[];
  readonly ofKeys: string;
  readonly ofPasswords: string | undefined;
} {
  const keys: Partial<typeof sshPublicKey> = sshPublicKey ?? {};
  const passwords: Partial<typeof userPassword> = userPassword ?? {};
  const byAgent = passwords.propagationMethod?.qemuGuestAgent !== undefined;
  return {
    users: keys.propagationMethod?.qemuGuestAgent?.users ?? [],
    ofKeys: keys.source?.secret?.secretName ?? "",
    ofPasswords: byAgent ? (passwords.source?.secret?.secretName ?? "") : undefined,
  };
}

function saying(annotation: string, entries: readonly string[]): Parts {
  if (entries.length === 0) return {};
  return { annotations: { [`trine.dev/${annotation}`]: [...new Set(entries)].join(",") } };
}
