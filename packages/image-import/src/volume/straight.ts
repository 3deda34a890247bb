import { TrineError, kindOf } from "@trine/base";
import { Qcow2Stream, isQcow2, isRawHead, probeDisk } from "@trine/disk-images";
import type { Version } from "../fetch/download.ts";
import type { Shortcut, Spool } from "../fetch/fetch-disk.ts";
import type { ImportLimits } from "../limits.ts";
import { sizeOf, writeParts, writeSparse } from "../write-sparse.ts";
import type { VolumeTarget } from "./volume-target.ts";

/** By then a disk's first bytes have said what it is. */
const HEAD_BYTES = 64 * 1024;
const MIB = 1024 * 1024;
const COPY_BYTES = 4 * MIB;
/** What lies before the first table has no place: of a disk that begins with more of that, the spool would have most. */
const MAX_BEFORE_TABLES = 16 * MIB;
/** So much goes into the spool between two looks at the room for it. */
const LOOK_BYTES = 8 * MIB;
/** As of uploads: the node's disk is not only ours. */
const SPARED_BYTES = 256 * MIB;
/** What only the whole file tells: another reads it, or says what is wrong. */
const UNFIT: readonly string[] = ["unimplemented", "invalid", "malformed"];

type Way =
  /** Nothing has come. */
  | { readonly is: "open" }
  /** Raw: each byte has its place. */
  | { readonly is: "raw" }
  | { readonly is: "qcow2"; readonly stream: Qcow2Stream }
  /** All of it lies in the spool, as every other download does. */
  | { readonly is: "spool" };

interface Run {
  readonly at: number;
  readonly parts: Buffer[];
  bytes: number;
}

/**
 * Takes a disk from the network into the volume, without a copy on the node's disk: raw ones with a partition table or a
 * file system of CDs, and QCOW2 as qemu-img writes them. All else goes into the spool, which has what has no place yet, too.
 */
export class Straight implements Shortcut {
  readonly #target: VolumeTarget;
  readonly #limits: ImportLimits;
  readonly #what: string;
  #way: Way = { is: "open" };
  #isOff = false;
  #isPlaced = false;
  #totalBytes: number | undefined;
  #spool: Spool | undefined;
  #unseenBytes = 0;

  constructor(target: VolumeTarget, limits: ImportLimits, what: string) {
    this.#target = target;
    this.#limits = limits;
    this.#what = what;
  }

  get isOff(): boolean {
    return this.#isOff;
  }

  get isTaking(): boolean {
    return this.#way.is === "raw" || this.#way.is === "qcow2";
  }

  begin({ totalBytes }: Version, spool: Spool): void {
    this.#totalBytes = totalBytes;
    this.#spool = spool;
  }

  async write(parts: readonly Buffer[], at: number): Promise<void> {
    if (at === 0) await this.#decide(parts);
    const way = this.#way;
    if (way.is === "raw") await writeSparse(this.#target.handle, Buffer.concat(parts), at);
    else if (way.is === "spool") await writeParts(this.#needSpool().file, parts, at);
    else if (way.is === "qcow2" && at > 0) await this.#place(() => runsOf(way.stream, parts));
  }

  async restart(): Promise<void> {
    this.#way = { is: "open" };
    await this.#target.handle.truncate(0);
  }

  /** The volume has all of the disk. Where it has not, the spool has. */
  get isPlaced(): boolean {
    return this.#isPlaced;
  }

  async finish(signal: AbortSignal): Promise<void> {
    const way = this.#way;
    try {
      if (way.is === "raw") await this.#checkRaw(signal);
      else if (way.is === "qcow2") await this.#bring(way.stream, signal);
      this.#isPlaced = this.isTaking;
    } catch (cause) {
      throw await this.#giveUp(cause);
    }
  }

  /** By the first bytes. Whatever is wrong with them, another says it when all is there. */
  async #decide(parts: readonly Buffer[]): Promise<void> {
    const head = Buffer.concat(parts);
    const total = this.#totalBytes;
    if (total !== undefined && head.length >= Math.min(HEAD_BYTES, total)) {
      if (isQcow2(head) && (await this.#beginQcow2(head, total))) return;
      if (!isQcow2(head) && isRawHead(head) && total % 512 === 0) {
        await this.#target.begin(total);
        this.#way = { is: "raw" };
        return;
      }
    }
    await this.#needSpool().keep();
    this.#way = { is: "spool" };
  }

  async #beginQcow2(head: Buffer, total: number): Promise<boolean> {
    if (firstTable(head) > MAX_BEFORE_TABLES) return false;
    let stream: Qcow2Stream;
    let runs: Runs;
    try {
      stream = new Qcow2Stream(head, total);
      runs = runsOf(stream, [head]);
    } catch (cause) {
      if (UNFIT.includes(kindOf(cause))) return false;
      throw cause;
    }
    await this.#target.begin(stream.virtualSizeBytes);
    await this.#needSpool().file.truncate(total);
    await this.#place(() => runs);
    this.#way = { is: "qcow2", stream };
    return true;
  }

  async #place(runs: () => Runs): Promise<void> {
    let found: Runs;
    try {
      found = runs();
    } catch (cause) {
      throw await this.#giveUp(cause);
    }
    for (const { at, parts } of found.guest) await writeParts(this.#target.handle, parts, at);
    // Tables of what is used are zeros for the most part.
    for (const { at, parts } of found.file) {
      await this.#requireRoom(sizeOf(parts));
      await writeSparse(this.#needSpool().file, Buffer.concat(parts), at);
    }
  }

  /** For what nobody has announced: how much of a disk has no place when it comes shows as it comes. */
  async #requireRoom(bytes: number): Promise<void> {
    this.#unseenBytes += bytes;
    if (this.#unseenBytes < LOOK_BYTES) return;
    this.#unseenBytes = 0;
    const free = await this.#needSpool().freeBytes();
    if (free >= SPARED_BYTES + LOOK_BYTES) return;
    const what = "what of the QCOW2 has no place yet does not fit";
    throw new TrineError(
      "exhausted",
      `${what}: ${free} bytes are free, ${SPARED_BYTES} are spared`,
    );
  }

  async #checkRaw(signal: AbortSignal): Promise<void> {
    const found = await probeDisk(this.#target.handle, this.#what, this.#limits, signal);
    if (found.kind === "native" && found.info.format === "raw") return;
    throw new TrineError("unimplemented", "its end says that it is no raw disk");
  }

  async #bring(stream: Qcow2Stream, signal: AbortSignal): Promise<void> {
    const buffer = Buffer.allocUnsafe(COPY_BYTES);
    for (const { from, to, bytes } of stream.end()) {
      for (let done = 0; done < bytes;) {
        signal.throwIfAborted();
        const length = Math.min(buffer.length, bytes - done);
        const read = await this.#needSpool().file.read(buffer, 0, length, from + done);
        if (read.bytesRead === 0) throw new TrineError("unimplemented", "it ends too early");
        const part = buffer.subarray(0, read.bytesRead);
        await writeParts(this.#target.handle, [part], to + done);
        done += read.bytesRead;
      }
    }
  }

  /** What is in the volume is of no use any more. */
  async #giveUp(cause: unknown): Promise<unknown> {
    if (!UNFIT.includes(kindOf(cause))) return cause;
    this.#isOff = true;
    await this.restart();
    return cause;
  }

  #needSpool(): Spool {
    if (this.#spool !== undefined) return this.#spool;
    throw new TrineError("internal", "bytes come before their version");
  }
}

/** Place of the L1 table, as the header has it. */
function firstTable(head: Buffer): bigint {
  return head.length < 48 ? 0n : head.readBigUInt64BE(40);
}

interface Runs {
  readonly guest: readonly Run[];
  readonly file: readonly Run[];
}

/** What lies side by side is written in one call. */
function runsOf(stream: Qcow2Stream, parts: readonly Buffer[]): Runs {
  const guest: Run[] = [];
  const file: Run[] = [];
  for (const part of parts) {
    for (const { guest: isPlaced, at, bytes } of stream.push(part)) {
      const runs = isPlaced ? guest : file;
      const last = runs.at(-1);
      if (last !== undefined && last.at + last.bytes === at) {
        last.parts.push(bytes);
        last.bytes += bytes.length;
      } else runs.push({ at, parts: [bytes], bytes: bytes.length });
    }
  }
  return { guest, file };
}
