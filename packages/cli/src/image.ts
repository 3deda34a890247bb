import { basename } from "node:path";
import { PassThrough } from "node:stream";
import { Command } from "commander";
import { TrineError } from "@trine/base";
import { importImage } from "@trine/containerd-client";
import { inspectImage, writeImageLayout } from "@trine/disk-images";
import type { Io } from "./io.ts";

const MIB = 1024 * 1024;
const REFERENCE = /^[a-z0-9]+(?:[._/-][a-z0-9]+)*(?::[\w][\w.-]{0,127})?$/;

export function imageCommand(io: Io): Command {
  return new Command("image").description("machine images").addCommand(importCommand(io));
}

function importCommand(io: Io): Command {
  return new Command("import")
    .description("make a QCOW2 or raw disk an image of containerd's store")
    .argument("<file>", "QCOW2 or raw disk image")
    .option("--name <reference>", "name of the image; default: localhost/FILE:latest")
    .option("--containerd <socket>", "containerd's socket", "/run/containerd/containerd.sock")
    .option("--namespace <name>", "containerd's namespace", "k8s.io")
    .addHelpText(
      "after",
      "\nExamples:\n  trine image import debian-12.qcow2\n  trine image import appliance.raw --name example/appliance:1.2",
    )
    .action(
      async (file: string, flags: { name?: string; containerd: string; namespace: string }) => {
        const reference = flags.name ?? defaultReference(file);
        if (!REFERENCE.test(reference)) {
          throw new TrineError(
            "invalid",
            `--name ${reference}: not an image reference such as example/disk:1.0`,
          );
        }
        const info = await inspectImage(file);
        const name = reference.includes(":") ? reference : `${reference}:latest`;
        const archive = new PassThrough();
        const packed = writeImageLayout({ file, info, reference: name }, archive, io.signal);
        const imported = importImage(archive, {
          socket: flags.containerd,
          namespace: flags.namespace,
          signal: io.signal,
        });
        await Promise.all([packed, imported]);
        io.stdout.write(`${name}\n`);
        io.stderr.write(
          `imported ${info.format}, virtual size ${info.virtualSizeBytes / MIB} MiB\n`,
        );
      },
    );
}

function defaultReference(file: string): string {
  const stem = basename(file).replace(/\.(qcow2|img|raw)$/i, "");
  return `localhost/${stem
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-+|-+$/g, "")}:latest`;
}
