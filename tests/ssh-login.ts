// A login over SSH, as a person with a private key makes one to a machine that was made for a test.
import { runCommand } from "@trine/testkit";

const OPTIONS = [
  "StrictHostKeyChecking=no",
  "UserKnownHostsFile=/dev/null",
  "BatchMode=yes",
  "ConnectTimeout=60",
  "LogLevel=ERROR",
].flatMap((option) => ["-o", option]);

/** Makes a pair of keys, FILE and FILE.pub. */
export async function makeSshKey(file: string, comment: string): Promise<void> {
  const words = ["-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", file];
  await runCommand("ssh-keygen", words);
}

/** What `command` says on the machine at that address, run as cloud-init's default user. */
export function sshLogin(ip: string, keyFile: string, command: string): Promise<string> {
  return runCommand("ssh", ["-i", keyFile, ...OPTIONS, `debian@${ip}`, command]);
}
