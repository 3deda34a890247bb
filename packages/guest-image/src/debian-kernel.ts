import { readFile, readdir } from "node:fs/promises";
import { join } from "node:path";
import { TrineError } from "@trine/base";
import { packageBehind, unpackPackage } from "./debian-package.ts";
import type { KernelContext, KernelFiles } from "./kernel-files.ts";

/** The generic kernel: the cloud one knows neither 9p nor vmgenid. */
const META_PACKAGE = "linux-image-amd64";

/** Debian's newest generic kernel, unpacked into the work directory. */
export async function debianKernel(context: KernelContext): Promise<KernelFiles> {
  const found = await packageBehind(META_PACKAGE, "linux-image-", context.signal);
  const root = join(context.workDir, "kernel");
  await unpackPackage(found, root, context);
  const releases = await readdir(join(root, "lib/modules"));
  const [release] = releases;
  if (release === undefined || releases.length > 1) {
    throw new TrineError(
      "invalid",
      `${found.name}: holds the modules of ${releases.length} kernels`,
    );
  }
  return {
    source: `Debian ${found.name} ${found.version}`,
    path: join(root, "boot", `vmlinuz-${release}`),
    modulesDir: join(root, "lib/modules", release),
    config: await readFile(join(root, "boot", `config-${release}`), "utf8"),
  };
}
