import { join } from "node:path";
import { cachedDir } from "./cache.ts";
import { hashOfFiles } from "./recipe.ts";
import { runCommand } from "./run-command.ts";

const SOURCE = join(import.meta.dirname, "../guest/probe/init.c");

/**
 * A static first program for guests, in place of the agent: it says what the kernel has (guest/probe/init.c lists
 * the lines), ends with `PROBE READY …`, and powers off. Answers its file.
 */
export async function guestProbe(): Promise<string> {
  const compiler = await runCommand("gcc", ["-dumpfullversion"]);
  const dir = await cachedDir("guest-probe", [compiler, await hashOfFiles([SOURCE])], (making) =>
    runCommand("gcc", ["-static", "-Os", "-o", join(making, "init"), SOURCE]).then(() => undefined),
  );
  return join(dir, "init");
}
