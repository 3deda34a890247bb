import { TrineError } from "@trine/base";
import { record } from "../json-shape.ts";

/** A device whose root was written from an image begins with a header; the machine's disk comes after it. */
export const ROOT_OFFSET = 1024 * 1024;
const HEADER_BYTES = 4096;
const MAGIC = "trine-root ";
const VERSION = 1;
export const SHA256 = /^[0-9a-f]{64}$/;
const EMPTY = /^\0*$/;

/** What a device holds: nothing, something that is nobody's of ours, or a root of an image that is whole or not. */
export type RootState =
  | { readonly is: "empty" }
  | { readonly is: "foreign" }
  | { readonly is: "writing" | "complete"; readonly sha256: string };

/** `text`: the device's first bytes. Kind `unimplemented` for a header of a later release. */
export function readRootHeader(text: string): RootState {
  if (EMPTY.test(text)) return { is: "empty" };
  const [line = ""] = text.slice(0, HEADER_BYTES).split("\n", 1);
  if (!line.startsWith(MAGIC)) return { is: "foreign" };
  let header: ReturnType<typeof record>;
  try {
    header = record(JSON.parse(line.slice(MAGIC.length)));
  } catch {
    return { is: "foreign" };
  }
  const { version, state, sha256 } = header;
  if (version !== VERSION) {
    const what = `the device's root has a header of version ${JSON.stringify(version)}`;
    throw new TrineError("unimplemented", `${what}, this release reads ${VERSION}`);
  }
  const isState = state === "writing" || state === "complete";
  if (!isState || typeof sha256 !== "string" || !SHA256.test(sha256)) return { is: "foreign" };
  return { is: state, sha256 };
}

/** As one block: a device has it whole or not at all. */
export function rootHeader(state: "writing" | "complete", sha256: string): string {
  const line = `${MAGIC}${JSON.stringify({ version: VERSION, state, sha256 })}\n`;
  return line.padEnd(HEADER_BYTES, "\0");
}
