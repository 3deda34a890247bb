import { TrineError, kindOf } from "@trine/base";
import {
  DEFAULT_IMPORT_LIMITS,
  buildDisk,
  importDisk,
  parseCommandLine,
} from "@trine/image-import";
import { besideProgram } from "../beside-program.ts";
import type { Io } from "../io.ts";
import { Progress, sizeText } from "../output/progress.ts";
import type { ProgressForm } from "../output/progress.ts";
import { parseImageName } from "./image-name.ts";
import { pickImage, usedImages } from "./image-view.ts";
import { IMPORT_STEPS, oneLine, untilKnown } from "./import.ts";
import { withStore } from "./open-store.ts";
import type { StoreFlags } from "./open-store.ts";
import { importsDir } from "./places.ts";

export interface BuildFlags extends StoreFlags {
  readonly name: string;
  readonly size: number;
  readonly kernel?: string;
  readonly initrd?: string;
  readonly cmdline: string;
  readonly snapshotter: string;
  readonly progress: ProgressForm;
}

/** `trine image build IMAGE`: an image of containers as the disk of a machine. */
export async function buildImageCommand(io: Io, text: string, flags: BuildFlags): Promise<void> {
  const reference = parseImageName(flags.name);
  const commandLine = parseCommandLine(flags.cmdline);
  if ((flags.kernel === undefined) !== (flags.initrd === undefined)) {
    throw new TrineError("invalid", "--kernel and --initrd belong together");
  }
  const progress = new Progress(io, flags.progress);
  const { signal } = io;
  const workDir = importsDir(io);
  const filter = besideProgram("bin/trine-rootfs");
  try {
    await withStore(io, flags, async (store) => {
      const image = pickImage(await usedImages(io, store, flags), text);
      const built = await buildDisk(
        store,
        { ...flags, image, sizeBytes: flags.size, commandLine, filter, workDir },
        (step) => {
          progress.step(reference, step);
        },
        signal,
      );
      try {
        await importDisk(
          store,
          {
            source: built.path,
            consumes: true,
            origin: image.name,
            reference,
            limits: DEFAULT_IMPORT_LIMITS,
            http: { environment: {}, credentials: () => undefined, stallMs: 1 },
            retries: 0,
            keepPartial: false,
            workDir,
            snapshotter: flags.snapshotter,
            architecture: image.architecture,
          },
          ({ step, done, total }) => {
            progress.amount(reference, IMPORT_STEPS[step], done, total);
          },
          signal,
        );
      } finally {
        await built.release();
      }
    });
    await untilKnown(io, flags, reference);
    progress.end();
    io.stdout.write(`${reference}\n`);
    io.stderr.write(`built a disk of ${sizeText(flags.size)}\n`);
  } catch (cause) {
    progress.end();
    if (signal.aborted) throw new TrineError("canceled", "interrupted", { cause });
    throw new TrineError(kindOf(cause), oneLine(cause), { cause });
  }
}
