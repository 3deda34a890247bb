import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { promisify } from "node:util";

const run = promisify(execFile);

/** Puts a tmpfs there unless one is; Node has no call for it. */
export async function mountTmpfs(path: string, sizeBytes: bigint | undefined): Promise<void> {
  if ((await mountsBelow(path)).includes(path)) return;
  const options = sizeBytes === undefined ? "mode=1777" : `mode=1777,size=${sizeBytes}`;
  await run("mount", ["-t", "tmpfs", "-o", `${options},nosuid,nodev`, "tmpfs", path]);
}

/** Mounts what a descriptor of this process names; the path by which it was opened does not matter any more. */
export async function bindDescriptor(descriptor: number, target: string): Promise<void> {
  // -c: mount would ask for the descriptor's path, and mount what lies there by then.
  await run("mount", ["-c", "--bind", `/proc/${process.pid}/fd/${descriptor}`, target]);
}

/** Takes away every mount at or below a directory; repeatable. */
export async function unmountBelow(dir: string): Promise<void> {
  for (const path of (await mountsBelow(dir)).reverse()) await run("umount", [path]);
}

async function mountsBelow(dir: string): Promise<string[]> {
  const text = await readFile("/proc/self/mountinfo", "utf8");
  const points = text.split("\n").map((line) => unescape(line.split(" ")[4] ?? ""));
  return points.filter((point) => point === dir || point.startsWith(`${dir}/`));
}

/** Blanks are octal in mountinfo. */
function unescape(field: string): string {
  return field.replaceAll(/\\([0-7]{3})/g, (_, octal: string) =>
    String.fromCharCode(parseInt(octal, 8)),
  );
}
