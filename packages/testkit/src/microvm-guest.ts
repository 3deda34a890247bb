import { join } from "node:path";
import { TrineError } from "@trine/base";
import { readGuestImage, writeGuestImage } from "@trine/guest-image";
import { cacheDir, cachedDir, exists } from "./cache.ts";
import { resolvePackages } from "./debian-packages.ts";
import { hashOfFiles } from "./recipe.ts";
import { DIST } from "./trine-node.ts";

const BUILDER = join(import.meta.dirname, "../../guest-image/src");
const AGENT = join(DIST, "bin/trine-agent");

export interface MicrovmGuest {
  /** The image's directory, with its guest.json. */
  readonly dir: string;
  readonly kernel: string;
  readonly initrd: string;
  readonly cmdline: string;
}

/**
 * The guest image of a microVM: Debian's kernel with the agent that `make build` made, or with another static
 * program as `init`. Built once for the same kernel, program and builder.
 */
export async function microvmGuest(options: { init?: string } = {}): Promise<MicrovmGuest> {
  const init = options.init ?? AGENT;
  if (!(await exists(init))) {
    throw new TrineError("notFound", `${init}: no such program; make build makes the agent`);
  }
  const [meta] = await resolvePackages(["linux-image-amd64"]);
  const recipe = [JSON.stringify(meta), await hashOfFiles([init, BUILDER])];
  const dir = await cachedDir("microvm-guest", recipe, async (making) => {
    await writeGuestImage(making, {
      kernel: { from: "debian" },
      agent: init,
      cacheDir: cacheDir(),
      signal: AbortSignal.timeout(600_000),
      say: () => undefined,
    });
  });
  const { manifest, kernel, initrd } = await readGuestImage(dir);
  return { dir, kernel, initrd, cmdline: manifest.cmdline };
}

/** Lines of trined's configuration for pods of level microvm with this guest, as `make build` made the rest. */
export function microvmConfig(guest: MicrovmGuest): string {
  return [
    "microvms:",
    `  guestDir: ${guest.dir}`,
    `  fileServer: ${DIST}/bin/trine-p9`,
    `  roots: { builder: ${DIST}/bin/trine-rootfs }`,
    `  shim: ${DIST}/bin/containerd-shim-trine-microvm-v2`,
    `  defaultMemoryBytes: ${256 * 1024 * 1024}`,
    "  bootMs: 180000",
  ].join("\n");
}
