import { spawn } from "node:child_process";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import { TrineError, errnoOf } from "@trine/base";
import type { Io } from "../io.ts";
import type { NodeFlags } from "./node-flags.ts";

const REQUEST = "--request-timeout=60s";

/** Applies or deletes the cluster's RuntimeClasses where --kubeconfig says which cluster. */
export async function changeRuntimeClasses(
  io: Io,
  { kubeconfig, dryRun }: NodeFlags,
  of: { readonly verb: "apply" | "delete"; readonly classes: string },
): Promise<void> {
  if (kubeconfig === undefined || of.classes === "") return;
  const how =
    of.verb === "apply"
      ? ["apply", "--server-side", "--field-manager=trine-install"]
      : ["delete", "--ignore-not-found"];
  const dry = dryRun ? ["--dry-run=server"] : [];
  const args = ["--kubeconfig", kubeconfig, REQUEST, ...how, ...dry, "--filename=-"];
  io.stdout.write(await kubectl(io, args, of.classes));
}

async function kubectl(io: Io, args: readonly string[], input: string): Promise<string> {
  const child = spawn("kubectl", args, { signal: io.signal });
  child.stdin.on("error", () => undefined); // its exit code and words say why
  child.stdin.end(input);
  const ended = once(child, "close");
  const [output, words] = await Promise.all([text(child.stdout), text(child.stderr), ended]).catch(
    (cause: unknown) => {
      if (errnoOf(cause) !== "ENOENT") throw cause;
      throw new TrineError("unavailable", "--kubeconfig needs kubectl, which is not in PATH");
    },
  );
  if (child.exitCode === 0) return output;
  throw new TrineError("internal", `kubectl ${args.join(" ")}: ${words.trim().slice(0, 2000)}`);
}
