import { TrineError } from "@trine/base";
import type { Io } from "../io.ts";
import { NodeFiles } from "./node-files.ts";

/** What `install` and `uninstall` have in common. */
export interface NodeFlags {
  readonly dryRun: boolean;
  readonly restart: boolean;
  readonly root: string;
  readonly kubeconfig?: string;
}

/** -v shows every change. */
export function nodeFiles(io: Io, { root }: NodeFlags): NodeFiles {
  return new NodeFiles(root, (change) => {
    if (io.signal.aborted) throw new TrineError("canceled", "interrupted: run it again to go on");
    io.onRequest({ method: "file", target: change });
  });
}
