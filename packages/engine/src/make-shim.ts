import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { TrineError, messageOf } from "@trine/base";
import { ShimLink } from "@trine/shim-client";
import type { EngineConfig } from "./deps.ts";

const run = promisify(execFile);
const MAKE_MS = 10_000;
/** Namespace of shims without a pod: containerd has none of that name. */
const NAMESPACE = "trine";

/**
 * Makes a shim without a pod in `dir`, a place of its own below the state directory, or finds the one that is
 * there. It outlives this daemon; `ShimLink.end` ends it.
 */
export async function makeShim(config: EngineConfig, dir: string, id: string): Promise<ShimLink> {
  const { stateDir, microvms } = config;
  const argv = ["-namespace", NAMESPACE, "-id", id, "-state", stateDir, "-dir", dir, "make"];
  try {
    const { stdout } = await run(microvms.shim, argv, { timeout: MAKE_MS });
    const address = stdout.replace(/^unix:\/\//, "");
    return await ShimLink.open(address, AbortSignal.timeout(MAKE_MS));
  } catch (cause) {
    throw new TrineError("unavailable", `make a shim in ${dir}: ${messageOf(cause)}`, { cause });
  }
}
