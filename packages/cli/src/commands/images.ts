import { InvalidArgumentError, Option } from "commander";
import type { Command } from "commander";
import { parseQuantity } from "@trine/annotations";
import type { Io } from "../io.ts";
import type { ImportFlags } from "../images/import.ts";
import type { Act } from "./act.ts";
import {
  absolute,
  containerdNamespace,
  count,
  duration,
  examples,
  progressOption,
  withOptions,
} from "./flag-values.ts";

const GIB = 1024 ** 3;

/** Verbs of the image store. */
export function imageCommands(trine: Command, io: Io, act: Act): void {
  const image = trine.command("image").description("images of containerd's store");
  importCommand(image, io, act);
}

function importCommand(image: Command, io: Io, act: Act): void {
  withOptions(image.command("import"), [...storeOptions(io), ...httpOptions()])
    .description("make a disk an image of containerd's store, usable at once")
    .argument(
      "<source>",
      "http(s) URL or file: QCOW2, raw, VMDK, VHD, VHDX, OVA, ISO; packed or not",
    )
    .option("--name <name>", "REGISTRY/PATH[:TAG]; default: localhost/FILE:latest")
    .option("--checksum <sum>", "sha256:HEX or sha512:HEX of the source as it is")
    .option("--max-size <amount>", "largest file, fetched or unpacked", bytes, 256 * GIB)
    .option("--max-expansion <times>", "most that packed data may grow", count, 1000)
    .option("--retries <count>", "attempts without progress after the first", count, 4)
    .option("--timeout <time>", "no longer than this in all", duration)
    .option("--keep-partial", "keep what was downloaded when interrupted by ^C", false)
    .option("--snapshotter <name>", "containerd's snapshotter", containerdNamespace, "overlayfs")
    .addOption(progressOption())
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
      "credentials as docker and podman keep them; else TRINE_AUTH_FILE",
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
