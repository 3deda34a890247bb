import { TrineError, messageOf } from "@trine/base";
import type { NodeFiles } from "./node-files.ts";
import { SERVICES } from "./step.ts";
import type { Service, StepKind } from "./step.ts";

const RECORD = "/var/lib/trine-install.json";
const VERSION = "install.trine.dev/v1alpha1";
const KINDS: readonly StepKind[] = ["text", "link", "copy"];

/**
 * What an installation has touched or was about to: written before anything is, so that it always names all. Its path
 * lies where a directory is on every node.
 */
export interface InstallRecord {
  /** In the order in which they were made. */
  readonly paths: readonly { readonly kind: StepKind; readonly path: string }[];
  /** Directories that were not there before. */
  readonly directories: readonly string[];
  /** Services with a change that they have not seen, and since when (ms since 1970). */
  readonly pending: Partial<Record<Service, number>>;
  /** What was asked for; asked for no more it goes. */
  readonly wishes: RecordedWishes;
}

export interface RecordedWishes {
  readonly gateway: boolean;
  readonly lxcfs: boolean;
  readonly gvisor: boolean;
}

export async function readRecord(files: NodeFiles): Promise<InstallRecord | undefined> {
  const text = await files.read(RECORD);
  if (text === undefined) return undefined;
  try {
    const { version, ...record } = JSON.parse(text) as InstallRecord & { version: unknown };
    if (version !== VERSION) throw new Error(`its version is ${String(version)}`);
    const isWhole =
      record.paths.every(({ kind, path }) => KINDS.includes(kind) && path.startsWith("/")) &&
      record.directories.every((path) => path.startsWith("/")) &&
      Object.keys(record.pending).every((name) => SERVICES.some((each) => each === name));
    if (!isWhole) throw new Error("a part of it is not as it was written");
    return record;
  } catch (cause) {
    const what = `${RECORD} cannot be read (${messageOf(cause)}): it was changed, or a newer release wrote it`;
    throw new TrineError("invalid", what, { cause });
  }
}

export async function writeRecord(files: NodeFiles, record: InstallRecord): Promise<void> {
  const text = `${JSON.stringify({ version: VERSION, ...record }, null, 2)}\n`;
  if (text !== (await files.read(RECORD))) await files.write(RECORD, text, { mode: 0o600 });
}

export async function removeRecord(files: NodeFiles): Promise<void> {
  await files.removeRests(RECORD);
  await files.remove(RECORD);
}
