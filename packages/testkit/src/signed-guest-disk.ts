import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { cachedDir } from "./cache.ts";
import { resolvePackages, unpackPackages } from "./debian-packages.ts";
import { containerDisk } from "./images.ts";
import { hashOfFiles } from "./recipe.ts";
import { runCommand } from "./run-command.ts";
import type { TestImage } from "./test-image.ts";
import { tinyGuestDisk } from "./tiny-guest-disk.ts";

/** Where the tiny guest's boot partition begins (boot-disk.ts). */
const PARTITION = 1024 * 1024;
/** Microsoft signed the first, Debian the second, which it starts, and its kernels. */
const PACKAGES = ["shim-signed", "grub-efi-amd64-signed"];

/**
 * The tiny guest, started by UEFI with programs that are all signed: as a containerDisk. On its console it says the
 * same as the tiny guest.
 */
export async function signedGuestImage(): Promise<TestImage> {
  const packages = await resolvePackages(PACKAGES);
  const tiny = await tinyGuestDisk();
  const recipe = [JSON.stringify(packages), tiny, await hashOfFiles([import.meta.filename])];
  const dir = await cachedDir("signed-guest", recipe, async (making) => {
    const tools = join(making, "tools");
    const raw = join(making, "disk.raw");
    await unpackPackages(packages, tools);
    await runCommand("qemu-img", ["convert", "-O", "raw", tiny, raw]);
    await putLoader(`${raw}@@${PARTITION}`, tools, making);
    await runCommand("qemu-img", [
      ...["convert", "-f", "raw", "-O", "qcow2"],
      ...[raw, join(making, "signed.qcow2")],
    ]);
    await rm(raw);
    await rm(tools, { recursive: true });
  });
  return containerDisk("signed-guest", join(dir, "signed.qcow2"));
}

/** The second program is looked for beside the first, and reads its own distribution's directory. */
async function putLoader(partition: string, tools: string, work: string): Promise<void> {
  const mtools = (program: string, ...args: string[]): Promise<string> =>
    runCommand(program, ["-i", partition, ...args], { env: { MTOOLS_SKIP_CHECK: "1" } });
  const entry = await mtools("mtype", "::/loader/entries/linux.conf");
  const append = /^options (.*)$/m.exec(entry)?.[1] ?? "";
  const config = join(work, "grub.cfg");
  const lines = ["search --file --set=root /vmlinuz", `linux /vmlinuz ${append}`, "initrd /initrd"];
  await writeFile(config, [...lines, "boot", ""].join("\n"));
  const put = (from: string, to: string): Promise<string> => mtools("mcopy", "-o", from, to);
  const grub = join(tools, "usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed");
  await put(join(tools, "usr/lib/shim/shimx64.efi.signed"), "::/EFI/BOOT/BOOTX64.EFI");
  await put(grub, "::/EFI/BOOT/grubx64.efi");
  await mtools("mmd", "::/EFI/debian");
  await put(config, "::/EFI/debian/grub.cfg");
  await rm(config);
}
