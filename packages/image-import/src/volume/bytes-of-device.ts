import { execFile } from "node:child_process";
import { promisify } from "node:util";

const run = promisify(execFile);

/** Size of a block device behind a node of it. */
export async function bytesOfDevice(path: string): Promise<number> {
  const { stdout } = await run("blockdev", ["--getsize64", path]);
  return Number(stdout);
}
