import { basename, dirname, join } from "node:path";
import { digestOf, withoutOurs } from "./marked-text.ts";
import type { NodeFiles } from "./node-files.ts";

/**
 * `FILE.trine-backup.DIGEST`, beside the file: what it was before its first change, under the digest of that. It is
 * whole when its content has the digest of its name.
 */
function backupName(path: string, text: string): string {
  return `${path}.trine-backup.${digestOf(text)}`;
}

/** Of this file; also of one whose writing was interrupted. */
async function backupsOf(files: NodeFiles, path: string): Promise<string[]> {
  const prefix = `${basename(path)}.trine-backup.`;
  const names = (await files.list(dirname(path))).filter((name) => name.startsWith(prefix));
  const digests = names.map((name) => name.slice(prefix.length).replace(/\.trine-new$/, ""));
  const whole = new Set(digests.filter((digest) => /^[0-9a-f]{16}$/.test(digest)));
  return [...whole].map((digest) => join(dirname(path), prefix + digest)).sort();
}

/** Called before a change; a text that has something of ours was kept before its first change. */
export async function keepBackup(files: NodeFiles, path: string, text: string): Promise<void> {
  if (withoutOurs(text) !== text) return;
  const name = backupName(path, text);
  if ((await files.read(name)) !== text) await files.write(name, text, { like: path });
  for (const other of await backupsOf(files, path)) {
    if (other !== name) await files.remove(other); // of an installation that is long undone
  }
}

/**
 * Takes what is ours out of a file. Answers a note where the result is not what the file was before: somebody has
 * changed it since, and the backup stays.
 */
export async function undoFile(files: NodeFiles, path: string): Promise<string | undefined> {
  await files.removeRests(path);
  const text = await files.read(path);
  const rest = text === undefined ? undefined : withoutOurs(text);
  const whole: string[] = [];
  for (const backup of await backupsOf(files, path)) {
    await files.removeRests(backup);
    const kept = await files.read(backup);
    if (kept !== undefined && backupName(path, kept) === backup) whole.push(backup);
  }
  const [backup] = whole;
  if (text !== undefined && rest === undefined) {
    if (backup === undefined) await files.remove(path);
    else await files.rename(backup, path);
    return undefined;
  }
  if (rest !== undefined && rest !== text) await files.write(path, rest);
  if (backup === undefined) return undefined;
  if (rest !== undefined && backupName(path, rest) === backup) {
    await files.remove(backup);
    return undefined;
  }
  const state = rest === undefined ? "is gone" : "was changed since it was installed into";
  return `${path} ${state}; what it was before is in ${backup}`;
}
