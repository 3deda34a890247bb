const KEY_TYPES = [
  "ssh-ed25519",
  "ssh-rsa",
  "ecdsa-sha2-nistp256",
  "ecdsa-sha2-nistp384",
  "ecdsa-sha2-nistp521",
  "sk-ssh-ed25519@openssh.com",
  "sk-ecdsa-sha2-nistp256@openssh.com",
];
const MAX_KEY_LENGTH = 16 * 1024;

/** Why `line` is not an SSH public key ("type base64 [comment]", RFC 4253 §6.6); undefined when it is. */
function sshKeyProblem(line: string): string | undefined {
  if (line.length > MAX_KEY_LENGTH) return `longer than ${MAX_KEY_LENGTH} characters`;
  const [type = "", blob = ""] = line.split(/[ \t]+/, 2);
  if (!KEY_TYPES.includes(type)) return `does not start with a key type (${KEY_TYPES.join(", ")})`;
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(blob)) return "the key is not base64";
  const bytes = Buffer.from(blob, "base64");
  // The blob repeats the type: a cut or mixed-up paste shows here.
  if (bytes.length < 4 + type.length + 4 || bytes.readUInt32BE(0) !== type.length) {
    return "the key is cut short or of another type";
  }
  if (bytes.toString("latin1", 4, 4 + type.length) !== type) return "the key is of another type";
  // eslint-disable-next-line no-control-regex -- a control character would end up in authorized_keys
  return /[\u0000-\u0008\u000a-\u001f\u007f]/.test(line) ? "holds a control character" : undefined;
}

/** The keys of an authorized_keys file, or what is wrong with it. */
export function readSshKeys(
  text: string,
  maxCount: number,
): { readonly keys: string[] } | { readonly why: string } {
  const keys: string[] = [];
  for (const [index, raw] of text.split(/\r?\n/).entries()) {
    const line = raw.trim();
    if (line === "" || line.startsWith("#")) continue;
    const problem = sshKeyProblem(line);
    if (problem !== undefined) return { why: `line ${index + 1}: ${problem}` };
    keys.push(line);
    if (keys.length > maxCount) return { why: `has more than ${maxCount} keys` };
  }
  return { keys };
}
