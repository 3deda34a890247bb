import { mkdir, readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { cachedDir } from "./cache.ts";
import { type ContainerdVersion } from "./containerd-config.ts";
import { runCommand } from "./run-command.ts";

/** The release that stands for `2.4`. */
const MODULE = "github.com/containerd/containerd/v2";
const RELEASE = "v2.4.2";
const TAGS = "no_btrfs no_devmapper no_zfs no_aufs";

/**
 * Directory with containerd, ctr and containerd-shim-runc-v2. 1.6 is the machine's own package; 2.4 is
 * built from its Go module, once: minutes, at low priority.
 */
export async function containerdBinaries(version: ContainerdVersion): Promise<string> {
  if (version === "1.6") return "/usr/bin";
  const commands = ["containerd", "ctr", "containerd-shim-runc-v2"];
  return cachedDir("containerd", [RELEASE, TAGS, ...commands], async (making) => {
    const bin = join(making, "bin");
    await mkdir(bin);
    await runCommand(
      "nice",
      [
        ...[
          "-n",
          "15",
          "go",
          "install",
          "-p",
          "1",
          "-trimpath",
          "-ldflags",
          "-s -w",
          "-tags",
          TAGS,
        ],
        ...commands.map((command) => `${MODULE}/cmd/${command}@${RELEASE}`),
      ],
      { env: { GOBIN: bin, CGO_ENABLED: "0", GOFLAGS: "" }, timeoutMs: 1_800_000 },
    );
    for (const file of await readdir(bin)) await rename(join(bin, file), join(making, file));
    await rm(bin, { recursive: true });
  });
}
