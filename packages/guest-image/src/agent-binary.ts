import { readFile, stat } from "node:fs/promises";
import { TrineError, errnoOf } from "@trine/base";
import { isDynamic } from "./elf.ts";

const MAX_AGENT = 64 << 20;

export interface AgentBinary {
  readonly data: Buffer;
  /** "unknown" for a program that is not our agent. */
  readonly version: string;
}

/** Reads the guest's first program. Kind `notFound`, or `invalid` when it cannot run alone in a guest. */
export async function readAgent(path: string, signal: AbortSignal): Promise<AgentBinary> {
  const info = await stat(path).catch((cause: unknown) => {
    if (!["ENOENT", "ENOTDIR"].includes(errnoOf(cause) ?? "")) throw cause;
    throw new TrineError("notFound", `${path}: no such agent; give its file with --agent`, {
      cause,
    });
  });
  if (!info.isFile() || info.size > MAX_AGENT) {
    throw new TrineError(
      "invalid",
      `${path}: not a program (a file of at most ${MAX_AGENT} bytes)`,
    );
  }
  const data = await readFile(path, { signal });
  if (isDynamic(path, data)) {
    throw new TrineError("invalid", `${path}: needs shared libraries; the guest has none`);
  }
  // Written into the agent for this purpose: it is not run to be asked.
  const version = /trine-agent\/(\d+\.\d+\.\d+)/.exec(data.toString("latin1"));
  return { data, version: version?.[1] ?? "unknown" };
}
