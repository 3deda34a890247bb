import { chmod, mkdir, open, rm } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { TrineError } from "@trine/base";
import { runChild } from "./run-child.ts";

const MKFS = "/usr/sbin/mke2fs";
const FSCK = "/usr/sbin/e2fsck";
const MAKE_MS = 60_000;
const PIECE = 1024 * 1024;
const BLOCK = 4096;

/**
 * No journal: the file system lives as long as the container. No checksums, and so no groups that are yet to be
 * initialized: a mount looks at each of its groups, and with either takes three times as many instructions, which are
 * dear under emulation. No table is written twice: the file is a hole, so everything in it is zero already. All that
 * is not zero lies at its beginning, without copies further on.
 */
const FEATURES = "^has_journal,^resize_inode,^metadata_csum,^uninit_bg,sparse_super2";
const LAYOUT = [
  "lazy_itable_init=0",
  "assume_storage_prezeroed=1",
  "nodiscard",
  "packed_meta_blocks=1",
  "num_backup_sb=0",
].join(",");
const BYTES_PER_INODE = 32_768;
/** What the agent's overlay wants there (crates/agent/src/container/disk_root.rs): a guest takes long to make it. */
const DIRECTORIES = ["files", "work"];
const DIRECTORY_MODE = 0o755;

interface Piece {
  readonly at: number;
  readonly bytes: Buffer;
}

/** An ext4 file system with two empty directories in memory: its bytes that are not zero. */
export class LayerPrototype {
  readonly sizeBytes: number;
  readonly #pieces: readonly Piece[];

  private constructor(sizeBytes: number, pieces: readonly Piece[]) {
    this.sizeBytes = sizeBytes;
    this.#pieces = pieces;
  }

  /** Makes it by way of the file `scratch`, which is gone then. */
  static async make(scratch: string, sizeBytes: number): Promise<LayerPrototype> {
    const signal = AbortSignal.timeout(MAKE_MS);
    const tree = `${scratch}.tree`;
    await rm(scratch, { force: true });
    try {
      await makeTree(tree);
      const options = ["-q", "-F", "-t", "ext4", "-O", FEATURES, "-m", "0", "-b", `${BLOCK}`];
      const layout = ["-i", `${BYTES_PER_INODE}`, "-E", LAYOUT, "-d", tree];
      await runChild(MKFS, [...options, ...layout, scratch, `${sizeBytes / 1024}k`], signal);
      const metadata = (sizeBytes / BYTES_PER_INODE) * 256 + 8 * PIECE;
      const made = new LayerPrototype(sizeBytes, await readPieces(scratch, metadata));
      await rm(scratch);
      await using copy = await open(scratch, "wx", 0o600);
      await made.write(copy);
      // Read through once, so that nothing that lies elsewhere was left out.
      await runChild(FSCK, ["-f", "-n", scratch], signal);
      return made;
    } catch (cause) {
      throw TrineError.during("make an empty writable layer", cause);
    } finally {
      await rm(scratch, { force: true });
      await rm(tree, { recursive: true, force: true });
    }
  }

  /** Fills an empty file. */
  async write(file: FileHandle): Promise<void> {
    await file.truncate(this.sizeBytes);
    for (const { at, bytes } of this.#pieces) {
      const { bytesWritten } = await file.write(bytes, 0, bytes.length, at);
      if (bytesWritten !== bytes.length) {
        throw new TrineError("exhausted", "a writable layer does not fit on the disk");
      }
    }
  }
}

async function makeTree(tree: string): Promise<void> {
  await rm(tree, { recursive: true, force: true });
  for (const name of DIRECTORIES) {
    await mkdir(join(tree, name), { recursive: true });
    await chmod(join(tree, name), DIRECTORY_MODE);
  }
}

/** What is not zero in a file's first `length` bytes, in runs of whole blocks. */
async function readPieces(path: string, length: number): Promise<Piece[]> {
  await using file = await open(path, "r");
  const pieces: Piece[] = [];
  const buffer = Buffer.alloc(PIECE);
  const zeroes = Buffer.alloc(BLOCK);
  for (let at = 0; at < length; at += PIECE) {
    const { bytesRead } = await file.read(buffer, 0, PIECE, at);
    for (let from = 0; from < bytesRead; from += BLOCK) {
      const block = buffer.subarray(from, Math.min(from + BLOCK, bytesRead));
      if (!block.equals(zeroes.subarray(0, block.length))) {
        pieces.push({ at: at + from, bytes: Buffer.from(block) });
      }
    }
  }
  return joined(pieces);
}

function joined(pieces: readonly Piece[]): Piece[] {
  const runs: Piece[] = [];
  for (const piece of pieces) {
    const last = runs.at(-1);
    if (last !== undefined && last.at + last.bytes.length === piece.at) {
      runs[runs.length - 1] = { at: last.at, bytes: Buffer.concat([last.bytes, piece.bytes]) };
    } else {
      runs.push(piece);
    }
  }
  return runs;
}
