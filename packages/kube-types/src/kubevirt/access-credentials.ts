import { type Infer, list, needed, object, string } from "../schema/schema.ts";

const accessCredentialSecretSource = object({ secretName: needed(string()) });

const sshPublicKeyAccessCredentialSource = object({ secret: accessCredentialSecretSource });

const configDriveSSHPublicKeyAccessCredentialPropagation = object({});

const noCloudSSHPublicKeyAccessCredentialPropagation = object({});

const qemuGuestAgentSSHPublicKeyAccessCredentialPropagation = object({
  users: needed(list(string(), { merge: "set" })),
});

const sshPublicKeyAccessCredentialPropagationMethod = object({
  configDrive: configDriveSSHPublicKeyAccessCredentialPropagation,
  noCloud: noCloudSSHPublicKeyAccessCredentialPropagation,
  qemuGuestAgent: qemuGuestAgentSSHPublicKeyAccessCredentialPropagation,
});

const sshPublicKeyAccessCredential = object({
  source: needed(sshPublicKeyAccessCredentialSource),
  propagationMethod: needed(sshPublicKeyAccessCredentialPropagationMethod),
});

const userPasswordAccessCredentialSource = object({ secret: accessCredentialSecretSource });

const qemuGuestAgentUserPasswordAccessCredentialPropagation = object({});

const userPasswordAccessCredentialPropagationMethod = object({
  qemuGuestAgent: qemuGuestAgentUserPasswordAccessCredentialPropagation,
});

const userPasswordAccessCredential = object({
  source: needed(userPasswordAccessCredentialSource),
  propagationMethod: needed(userPasswordAccessCredentialPropagationMethod),
});

export const accessCredential = object({
  sshPublicKey: sshPublicKeyAccessCredential,
  userPassword: userPasswordAccessCredential,
});
export type AccessCredential = Infer<typeof accessCredential>;
