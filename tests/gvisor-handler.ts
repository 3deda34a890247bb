// The handler that `trine install --gvisor` sets up, on a containerd of a test.
import { appendFile, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { gvisorBinaries } from "@trine/testkit";
import type { Containerd } from "@trine/testkit";

const TABLE = join(import.meta.dirname, "../deploy/containerd/gvisor-2.toml");
const SHIM_CONFIG = "/etc/containerd/runsc.toml";

/** Adds it to a containerd 2.x and starts that anew. */
export async function addGvisor(containerd: Containerd): Promise<void> {
  const programs = await gvisorBinaries();
  const config = join(containerd.dir, "runsc.toml");
  await writeFile(
    config,
    `binary_name = "${programs}/runsc"\n\n[runsc_config]\n  platform = "systrap"\n`,
  );
  const type = 'runtime_type = "io.containerd.runsc.v1"';
  const table = (await readFile(TABLE, "utf8"))
    .replace(/^version = .*$/m, "")
    .replace(SHIM_CONFIG, config)
    // Not in the PATH of this containerd.
    .replace(type, `${type}\n  runtime_path = "${programs}/containerd-shim-runsc-v1"`);
  await appendFile(join(containerd.dir, "config.toml"), table);
  await containerd.restart();
}

/** As `trine install --gvisor` makes it. */
export const GVISOR_CLASS = {
  apiVersion: "node.k8s.io/v1",
  kind: "RuntimeClass",
  metadata: { name: "gvisor" },
  handler: "gvisor",
};
