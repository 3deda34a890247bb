import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { createInterface } from "node:readline";
import { TrineError, messageOf } from "@trine/base";
import type { ImportOrder, ImportWord } from "./import-image.ts";

/** For a program to start and a mapping to be read: an expression that takes longer is one that never ends. */
const RESOLVE_MS = 30_000;

/**
 * Has a process of its own bring the image of a name into a store; answers the image's name there. `program`: what to run; it calls
 * importImage(). Rejects with the kind and words of what failed; an abort ends the process.
 */
export async function pullByUrl(
  program: readonly string[],
  order: ImportOrder,
  signal: AbortSignal,
  resolveMs = RESOLVE_MS,
): Promise<string> {
  const [command = "", ...args] = program;
  const child = spawn(command, args, { stdio: ["pipe", "pipe", "inherit"] });
  const { stdin, stdout } = child;
  stdin.on("error", () => undefined); // told by its end
  stdin.write(`${JSON.stringify(order)}\n`);
  const unresolved = new AbortController();
  const late = setTimeout(() => {
    unresolved.abort();
    child.kill("SIGKILL");
  }, resolveMs);
  // It clears away what it has begun, in its own time.
  const leave = (): void => void stdin.end();
  signal.addEventListener("abort", leave, { once: true });
  if (signal.aborted) leave();
  const words: ImportWord[] = [];
  const lines = createInterface({ input: stdout });
  lines.on("line", (line) => {
    const word = wordOf(line);
    if (word === undefined) return;
    words.push(word);
    clearTimeout(late);
  });
  try {
    await endOf(child);
  } finally {
    clearTimeout(late);
    signal.removeEventListener("abort", leave);
  }
  const last = words.at(-1);
  if (last !== undefined && "done" in last) return last.done;
  if (last !== undefined && "failed" in last) {
    throw new TrineError(last.failed.kind, last.failed.message);
  }
  const isLate = unresolved.signal.aborted;
  const why = isLate ? `its name was not understood within ${resolveMs} ms` : "it was killed";
  throw new TrineError(isLate ? "timeout" : "unavailable", `the import of ${order.name}: ${why}`);
}

/** Undefined for a line that its writer's death has cut off. */
function wordOf(line: string): ImportWord | undefined {
  try {
    return JSON.parse(line) as ImportWord;
  } catch {
    return undefined;
  }
}

function endOf(child: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    child.once("error", (cause) => {
      reject(new TrineError("internal", `the import cannot start: ${messageOf(cause)}`, { cause }));
    });
    child.once("close", () => {
      resolve();
    });
  });
}
