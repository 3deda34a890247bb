import { InvalidArgumentError, Option } from "commander";
import type { Command } from "commander";
import { parseQuantity } from "@trine/annotations";
import type { Io } from "../io.ts";
import type { BuildFlags } from "../images/build.ts";
import type { CollectFlags, RemoveFlags } from "../images/change.ts";
import type { PullFlags, PushFlags } from "../images/exchange.ts";
import type { ImportFlags } from "../images/import.ts";
import type { ImageListFlags } from "../images/list.ts";
import type { StoreFlags } from "../images/open-store.ts";
import type { ConfirmFlags } from "../output/confirm.ts";
import { listOptions } from "../output/output.ts";
import type { Act } from "./act.ts";
import {
  absolute,
  containerdNamespace,
  count,
  duration,
  examples,
  progressOption,
  withOptions,
  yesOption,
} from "./flag-values.ts";

const GIB = 1024 ** 3;
const IMAGE = "NAME[:TAG], or the start of a digest";

/** Verbs of the image store. */
export function imageCommands(trine: Command, io: Io, act: Act): void {
  const image = trine.command("image").description("images of containerd's store");
  importCommand(image, io, act);
  buildCommand(image, io, act);
  lookCommands(image, io, act);
  changeCommands(image, io, act);
  exchangeCommands(image, io, act);
}

function buildCommand(image: Command, io: Io, act: Act): void {
  withOptions(image.command("build"), storeOptions(io))
    .description("make an image of containers, with a kernel, the disk of a machine")
    .argument("<image>", IMAGE)
    .requiredOption("--name <image>", "what the disk is to be called: REGISTRY/PATH[:TAG]")
    .option("--size <amount>", "of the disk, with room to write", bytes, 8 * GIB)
    .option("--kernel <file>", "a bzImage instead of the newest in the image's /boot")
    .option("--initrd <file>", "the initramfs of --kernel")
    .option("--cmdline <words>", "for the kernel, behind root=", "console=tty0 console=ttyS0")
    .option(
      "--snapshotter <name>",
      "containerd's",
      containerdNamespace,
      io.config.settings.snapshotter.value,
    )
    .addOption(progressOption(io))
    .addHelpText(
      "after",
      examples(
        "trine image build registry.example/debian-boot:12 --name localhost/debian:12",
        "trine image build localhost/app --name localhost/app-vm --kernel vmlinuz --initrd initrd.img",
      ),
    )
    .action(
      act(async (source: string, flags: BuildFlags) => {
        const { buildImageCommand } = await import("../images/build.ts");
        await buildImageCommand(io, source, flags);
        return "done";
      }),
    );
}

function lookCommands(image: Command, io: Io, act: Act): void {
  withOptions(image.command("ls"), [...listOptions(), ...storeOptions(io)])
    .description("list the images of the store, and who uses them")
    .addOption(imageSelector())
    .option("-a, --all", "also those that have no name but their digest", false)
    .addHelpText(
      "after",
      examples("trine image ls -l trine.dev/machine=true", "trine image ls -o name"),
    )
    .action(
      act(async (flags: ImageListFlags) => {
        const { listImagesCommand } = await import("../images/list.ts");
        await listImagesCommand(io, flags);
      }),
    );
  withOptions(image.command("inspect"), [...listOptions("json"), ...storeOptions(io)])
    .description("print all that is known of images")
    .argument("[image...]", IMAGE)
    .addOption(imageSelector())
    .addHelpText(
      "after",
      examples(
        "trine image inspect localhost/debian-12",
        "trine image inspect localhost/debian-12 -o jsonpath={.status.machine.format}",
      ),
    )
    .action(
      act(async (names: string[], flags: ImageListFlags) => {
        const { inspectImages } = await import("../images/list.ts");
        await inspectImages(io, names, flags);
      }),
    );
}

function changeCommands(image: Command, io: Io, act: Act): void {
  withOptions(image.command("rm"), storeOptions(io))
    .description("take names away; with its last name an image goes")
    .argument("[image...]", IMAGE)
    .addOption(imageSelector())
    .option("-f, --force", "also what containers use or containerd has pinned", false)
    .addOption(yesOption())
    .addHelpText(
      "after",
      examples("trine image rm localhost/debian-12", "trine image rm -l team=old"),
    )
    .action(
      act(async (names: string[], flags: RemoveFlags & ConfirmFlags) => {
        const { removeImages } = await import("../images/change.ts");
        return removeImages(io, names, flags);
      }),
    );
  withOptions(image.command("tag"), storeOptions(io))
    .description("give an image one more name")
    .argument("<image>", IMAGE)
    .argument("<name>", "REGISTRY/PATH[:TAG]")
    .addHelpText(
      "after",
      examples(
        "trine image tag localhost/debian-12 images.example/team/debian:12",
        "trine image tag 4d00cb8b814d localhost/base:stable",
      ),
    )
    .action(
      act(async (from: string, to: string, flags: StoreFlags) => {
        const { tagImage } = await import("../images/change.ts");
        await tagImage(io, from, to, flags);
      }),
    );
  withOptions(image.command("gc"), storeOptions(io))
    .description("remove what dead imports left, and disks without a name")
    .option("--unused", "also disks with a name that no container uses", false)
    .option("--older-than <time>", "only disks imported before", duration)
    .option("--downloads", "also begun downloads that could be gone on with", false)
    .option("--dry-run", "say what would go", false)
    .addOption(yesOption())
    .addHelpText("after", examples("trine image gc", "trine image gc --unused --older-than 30d"))
    .action(
      act(async (flags: CollectFlags & ConfirmFlags) => {
        const { collectImages } = await import("../images/change.ts");
        return collectImages(io, flags);
      }),
    );
}

function exchangeCommands(image: Command, io: Io, act: Act): void {
  withOptions(image.command("pull"), authOptions())
    .description("have containerd fetch images from their registries")
    .argument("<image...>", "REGISTRY/PATH[:TAG]")
    .option("--containerd <socket>", "containerd's socket", absolute, io.containerd)
    .option("--timeout <time>", "no longer than this for each", duration)
    .addOption(progressOption(io))
    .addHelpText(
      "after",
      examples(
        "trine image pull images.example/team/debian:12 --auth-file auth.json",
        "trine image pull images.example/a images.example/b",
      ),
    )
    .action(
      act(async (names: string[], flags: PullFlags) => {
        const { pullImages } = await import("../images/exchange.ts");
        return pullImages(io, names, flags);
      }),
    );
  withOptions(image.command("push"), [...storeOptions(io), ...httpOptions()])
    .description("send images to their registries")
    .argument("[image...]", IMAGE)
    .addOption(imageSelector())
    .option("--to <name>", "under this name: REGISTRY/PATH[:TAG]")
    .option("--plain-http", "without TLS", false)
    .addOption(progressOption(io))
    .addHelpText(
      "after",
      examples(
        "trine image push images.example/team/debian:12",
        "trine image push localhost/debian-12 --to images.example/team/debian:12",
      ),
    )
    .action(
      act(async (names: string[], flags: PushFlags) => {
        const { pushImages } = await import("../images/exchange.ts");
        return pushImages(io, names, flags);
      }),
    );
}

function imageSelector(): Option {
  return new Option("-l, --selector <labels>", "images with these labels: a=b,c!=d");
}

function importCommand(image: Command, io: Io, act: Act): void {
  withOptions(image.command("import"), [...storeOptions(io), ...httpOptions()])
    .description("make a disk an image of containerd's store, usable at once")
    .argument(
      "<source>",
      "http(s) URL or file: QCOW2, raw, VMDK, VHD, VHDX, OVA, ISO; packed, zipped or not",
    )
    .option("--name <name>", "REGISTRY/PATH[:TAG]; default: localhost/FILE[-DISK]:latest")
    .option("--checksum <sum>", "sha256:HEX or sha512:HEX of the source as it is")
    .addOption(
      new Option("--all-disks", "an image of each disk of an OVA: NAME-DISK")
        .default(false)
        .conflicts(["disk"]),
    )
    .option("--disk <file>", "which disk of an OVA or zip archive that has several")
    .option("--max-size <amount>", "largest file, fetched or unpacked", bytes, 256 * GIB)
    .option("--max-expansion <times>", "most that packed data may grow", count, 1000)
    .option("--retries <count>", "attempts without progress after the first", count, 4)
    .option("--timeout <time>", "no longer than this in all", duration)
    .option("--keep-partial", "keep what was downloaded when interrupted by ^C", false)
    .option(
      "--snapshotter <name>",
      "containerd's snapshotter",
      containerdNamespace,
      io.config.settings.snapshotter.value,
    )
    .addOption(progressOption(io))
    .addHelpText(
      "after",
      examples(
        "trine image import https://images.example/debian-12.qcow2 --checksum sha512:…",
        "trine image import appliance.ova --name localhost/appliance:1.2",
      ),
    )
    .action(
      act(async (source: string, flags: ImportFlags) => {
        const { importImageCommand } = await import("../images/import.ts");
        await importImageCommand(io, source, flags);
        return "done";
      }),
    );
}

function storeOptions(io: Io): Option[] {
  return [
    new Option("--containerd <socket>", "containerd's socket")
      .argParser(absolute)
      .default(io.containerd),
    new Option("--namespace <name>", "containerd's namespace")
      .argParser(containerdNamespace)
      .default("k8s.io"),
  ];
}

function authOptions(): Option[] {
  return [
    new Option(
      "--auth-file <file>",
      "credentials as docker and podman keep them; else the setting authFile",
    ),
    new Option("--username <name>", "with --password-stdin"),
    new Option("--password-stdin", "the password comes on stdin").default(false),
  ];
}

function httpOptions(): Option[] {
  return [
    ...authOptions(),
    new Option("--proxy <url>", "for all requests; else HTTP_PROXY, HTTPS_PROXY, NO_PROXY"),
    new Option("--ca-file <file>", "certificates (PEM) trusted beside the system's"),
    new Option("--stall-timeout <time>", "longest silence of a server")
      .argParser(positive)
      .default(30_000, "30s"),
  ];
}

function positive(text: string): number {
  const ms = duration(text);
  if (ms > 0) return ms;
  throw new InvalidArgumentError("More than nothing is wanted.");
}

function bytes(text: string): number {
  const amount = parseQuantity(text);
  if (amount !== undefined && amount > 0n) return Number(amount);
  throw new InvalidArgumentError("An amount such as 20Gi is wanted.");
}
