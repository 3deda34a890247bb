import { TrineError } from "@trine/base";

/** Runs a short program inside the pod's network namespace; no shell. The shim's Run in production. */
export type RunInPod = (
  argv: readonly string[],
  stdin?: string,
) => Promise<{ readonly exitCode: number; readonly stdout: string; readonly stderr: string }>;

const SHOWN_STDERR = 400;

/** Standard output of a program that must succeed; kind `unavailable` with its last words otherwise. */
export async function mustRun(
  run: RunInPod,
  doing: string,
  argv: readonly string[],
  stdin: string,
): Promise<string> {
  const { exitCode, stdout, stderr } = await run(argv, stdin);
  if (exitCode === 0) return stdout;
  const words = stderr.trim().slice(-SHOWN_STDERR);
  throw new TrineError(
    "unavailable",
    `${doing}: ${argv.join(" ")} ended with ${exitCode}: ${words}`,
  );
}
