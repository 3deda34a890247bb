import { homedir } from "node:os";
import { join } from "node:path";
import { Option } from "commander";
import type { Command } from "commander";
import type { GuestBuildFlags } from "../node/guest-build.ts";
import type { Io } from "../io.ts";
import type { Act } from "./act.ts";
import { listOptions } from "../output/output.ts";
import type { ListFlags } from "../output/print-list.ts";
import { absolute, examples, withOptions } from "./flag-values.ts";

const GUEST = "/var/lib/trine/guest";

/** Verbs of the guest image. */
export function guestCommands(trine: Command, io: Io, act: Act): void {
  const guest = trine.command("guest").description("kernel and initramfs of microVMs");
  buildCommand(guest, io, act);
  withOptions(guest.command("show"), listOptions())
    .description("print what a guest image is, and check its files")
    .argument("[dir]", "the image", GUEST)
    .addHelpText("after", examples("trine guest show", "trine guest show -o json | jq .features"))
    .action(
      act(async (dir: string, flags: ListFlags) => {
        const { guestShow } = await import("../node/guest-show.ts");
        await guestShow(io, dir, flags);
      }),
    );
}

function buildCommand(guest: Command, io: Io, act: Act): void {
  guest
    .command("build")
    .description("make the guest image: a kernel, and an initramfs with the agent")
    .option("--out <dir>", "where it is to lie", absolute, GUEST)
    .option("--kernel <file>", "a bzImage or vmlinux instead of Debian's kernel")
    .option("--modules <dir>", "modules of that kernel: .../lib/modules/RELEASE")
    .addOption(
      new Option("--from-source", "compile a small kernel of Debian's sources; takes minutes")
        .default(false)
        .conflicts(["kernel", "modules"]),
    )
    .option("--agent <file>", "the agent; default: the one that came with this program")
    .option("--cache <dir>", "keeps packages and compiled kernels", absolute, cacheDir())
    .addHelpText(
      "after",
      examples(
        "trine guest build",
        "trine guest build --kernel vmlinuz-6.12.1 --modules /lib/modules/6.12.1",
      ),
    )
    .action(
      act(async (flags: GuestBuildFlags) => {
        const { guestBuild } = await import("../node/guest-build.ts");
        await guestBuild(io, flags);
      }),
    );
}

function cacheDir(): string {
  return join(homedir(), ".cache/trine");
}
