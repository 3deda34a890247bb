import { createHash } from "node:crypto";
import { readFile, stat } from "node:fs/promises";
import { TrineError, messageOf } from "@trine/base";
import type { Template } from "./machine-spec.ts";

/** More than any machine's state without its memory. */
export const MAX_STATE_BYTES = 64 * 1024 * 1024;

/**
 * Kind `conflict` when a machine with this key cannot go on from the template: it was made of another kind of
 * machine, or one of its files is not the one it was made with. A state loaded over the memory of another
 * guest would run, and be wrong.
 */
export async function checkTemplate(template: Template, key: string): Promise<void> {
  if (template.key !== key) {
    throw new TrineError(
      "conflict",
      `template ${template.statePath} is of key ${template.key}, the machine of ${key}`,
    );
  }
  const { memoryInode, stateSha256 } = await identifyTemplate(template);
  if (memoryInode !== template.memoryInode) {
    throw new TrineError("conflict", `template: ${template.memoryPath} is another file by now`);
  }
  if (stateSha256 !== template.stateSha256) {
    throw new TrineError("conflict", `template: ${template.statePath} was changed or cut short`);
  }
}

/** What a template's files are now. Kind `conflict` when they cannot be read. */
export async function identifyTemplate(
  files: Pick<Template, "memoryPath" | "statePath">,
): Promise<Pick<Template, "memoryInode" | "stateSha256">> {
  try {
    const memory = await stat(files.memoryPath, { bigint: true });
    const { size } = await stat(files.statePath);
    if (size > MAX_STATE_BYTES) throw new Error(`${files.statePath} has ${size} bytes`);
    const state = await readFile(files.statePath);
    return {
      memoryInode: String(memory.ino),
      stateSha256: createHash("sha256").update(state).digest("hex"),
    };
  } catch (cause) {
    throw new TrineError("conflict", `template: ${messageOf(cause)}`, { cause });
  }
}
