import { execFile } from "node:child_process";
import { TrineError, errnoOf, kindOf, observed } from "@trine/base";
import type { Io } from "./io.ts";

const MAX_OUTPUT = 1024 * 1024;
const CALL_MS = 60_000;

/** What CRI has no call for, by containerd's own `ctr`; answers its output. */
export function runCtr(
  io: Pick<Io, "containerd" | "signal" | "onRequest">,
  args: readonly string[],
): Promise<string> {
  const begun = { method: "ctr", target: args.join(" ") };
  return observed(io.onRequest, begun, () => execute(io, args), {
    done: ({ length }) => ({ status: "ok", receivedBytes: length }),
    failed: kindOf,
  });
}

function execute(io: Pick<Io, "containerd" | "signal">, args: readonly string[]): Promise<string> {
  const all = ["--address", io.containerd, "--namespace", "k8s.io", ...args];
  const options = { signal: io.signal, maxBuffer: MAX_OUTPUT, timeout: CALL_MS };
  return new Promise((resolve, reject) => {
    execFile("ctr", all, options, (cause, stdout, stderr) => {
      if (cause === null) resolve(stdout);
      else if (errnoOf(cause) === "ENOENT") {
        reject(new TrineError("unavailable", "containerd's `ctr` is not in PATH", { cause }));
      } else {
        const words =
          stderr
            .trim()
            .split("\n")
            .at(-1)
            ?.replace(/^ctr: /, "") ?? "";
        reject(new TrineError("internal", `ctr ${args.join(" ")}: ${words}`, { cause }));
      }
    });
  });
}
