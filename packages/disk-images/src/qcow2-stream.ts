import { TrineError } from "@trine/base";
import { MAX_CLUSTER_BITS, parseQcow2Header } from "./qcow2-header.ts";
import type { Qcow2Header } from "./qcow2-header.ts";
import { compressedEntry, dataOffset, l2Offset } from "./qcow2-tables.ts";

/** Below it the notes of what has come would be larger than they are worth. */
const MIN_CLUSTER_BYTES = 4_096;
const ENTRY_BYTES = 8;
/** What is kept of a file whoever sends it says; together some fifty mebibytes. Larger ones go another way. */
const MAX_NOTES = 2 ** 20;
const MAX_CLUSTERS = 2 ** 28;
/** Of an L2 entry since version 3: the cluster is zeros, whatever lies at its place. */
const ZERO_BIT = 1;

/** Bytes that come, and where: in the guest's disk, or, where that is not known yet, in the file. */
export interface Streamed {
  readonly guest: boolean;
  readonly at: number;
  readonly bytes: Buffer;
}

/** What came before its place was known. */
export interface Belated {
  readonly from: number;
  readonly to: number;
  readonly bytes: number;
}

/**
 * A QCOW2 as it comes, from its first byte to its last, without the file: its tables are read on the way, and its clusters have
 * their place in the disk where a table has named it before, as those that qemu-img writes have. Kind `unimplemented`
 * for what needs the whole file (compressed clusters, clusters that are used twice, extended tables), which others can
 * read or refuse then. All that a hostile one can do is to say where its bytes go in the disk.
 */
export class Qcow2Stream {
  readonly virtualSizeBytes: number;
  readonly #header: Qcow2Header;
  readonly #fileBytes: number;
  readonly #clusterBytes: number;
  readonly #l1: Buffer;
  // In these a cluster is its number, in the file or in the disk: small integers, of which a map may have many.
  /** L2 tables that are still to come: which of them it is. */
  readonly #tables = new Map<number, number>();
  /** Clusters of data that are still to come: their place in the disk. */
  readonly #places = new Map<number, number>();
  /** Those that came before their place was known. */
  readonly #belated = new Map<number, number>();
  /** What has come of the table that is coming. */
  #table: Buffer | undefined;
  /** Clusters of the file that have had their use. */
  readonly #used: Uint8Array;
  #at = 0;

  /** `head`: the first cluster, or as much as there is. */
  constructor(head: Buffer, fileBytes: number) {
    this.#header = parseQcow2Header(head.subarray(0, 2 ** MAX_CLUSTER_BITS), fileBytes);
    const { clusterBytes, extendedL2, l1, virtualSizeBytes } = this.#header;
    if (clusterBytes < MIN_CLUSTER_BYTES || extendedL2) throw unfit("has unusual clusters");
    if (fileBytes > MAX_CLUSTERS * clusterBytes) throw unfit("has too many clusters");
    this.virtualSizeBytes = virtualSizeBytes;
    this.#fileBytes = fileBytes;
    this.#clusterBytes = clusterBytes;
    this.#l1 = Buffer.alloc(l1.entries * ENTRY_BYTES);
    this.#used = new Uint8Array(Math.ceil(fileBytes / clusterBytes / 8) + 1);
    this.#use(0);
    for (let at = l1.offset; at < this.#l1End; at += clusterBytes) this.#use(at);
  }

  /** The next bytes of the file. */
  *push(bytes: Buffer): Generator<Streamed> {
    for (let done = 0; done < bytes.length;) {
      const within = this.#at % this.#clusterBytes;
      const cluster = this.#at - within;
      const part = bytes.subarray(done, done + this.#clusterBytes - within);
      const streamed = this.#take(cluster, within, part);
      if (streamed !== undefined) yield streamed;
      this.#at += part.length;
      done += part.length;
    }
  }

  /** When all has come: what has still to be brought to its place, from where it was kept. */
  *end(): Generator<Belated> {
    const isWhole = this.#at === this.#fileBytes && this.#at >= this.#l1End;
    // A last cluster may be cut short by the end of the file: its places are still open.
    if (!isWhole || this.#tables.size > 0 || this.#places.size > 0) {
      throw unfit("has tables that lead behind its end");
    }
    for (const [cluster, place] of this.#belated) {
      const to = place * this.#clusterBytes;
      const bytes = Math.min(this.#clusterBytes, this.virtualSizeBytes - to);
      yield { from: cluster * this.#clusterBytes, to, bytes };
    }
  }

  get #l1End(): number {
    return this.#header.l1.offset + this.#l1.length;
  }

  #take(cluster: number, within: number, part: Buffer): Streamed | undefined {
    const at = cluster + within;
    const { offset } = this.#header.l1;
    if (at < this.#l1End && at + part.length > offset) {
      const from = Math.max(0, offset - at);
      part.copy(this.#l1, at + from - offset, from);
      if (at + part.length >= this.#l1End) this.#readL1(at + part.length);
      return undefined;
    }
    const end = within + part.length;
    const number = cluster / this.#clusterBytes;
    const index = this.#tables.get(number);
    if (index !== undefined) {
      this.#table ??= Buffer.alloc(this.#clusterBytes);
      part.copy(this.#table, within);
      if (end === this.#clusterBytes) {
        const table = this.#table;
        this.#tables.delete(number);
        this.#table = undefined;
        this.#readL2(index, table, cluster + end);
      }
      return undefined;
    }
    const place = this.#places.get(number);
    if (place === undefined) return { guest: false, at, bytes: part };
    if (end === this.#clusterBytes) this.#places.delete(number);
    const to = place * this.#clusterBytes + within;
    const room = Math.max(0, this.virtualSizeBytes - to);
    return { guest: true, at: to, bytes: part.subarray(0, room) };
  }

  /** `now`: what stands before it in the file has come. */
  #readL1(now: number): void {
    for (let index = 0; index < this.#header.l1.entries; index += 1) {
      const cluster = l2Offset(this.#l1, index * ENTRY_BYTES, this.#clusterBytes);
      if (cluster === 0) continue;
      if (cluster < now) throw unfit("has a table before the one that names it");
      this.#note(this.#tables, cluster, index);
    }
  }

  #readL2(index: number, table: Buffer, now: number): void {
    const perTable = this.#clusterBytes / ENTRY_BYTES;
    for (let entry = 0; entry < perTable; entry += 1) {
      const at = entry * ENTRY_BYTES;
      if (compressedEntry(table, at)) throw unfit("is compressed");
      const cluster = dataOffset(table, at, this.#clusterBytes);
      const isZero = ((table[at + 7] ?? 0) & ZERO_BIT) !== 0;
      if (isZero || cluster === 0) continue;
      const to = index * perTable + entry;
      if (cluster % this.#clusterBytes !== 0 || to * this.#clusterBytes >= this.virtualSizeBytes) {
        throw unfit("has an entry that leads nowhere");
      }
      this.#note(cluster >= now ? this.#places : this.#belated, cluster, to);
    }
  }

  #note(notes: Map<number, number>, cluster: number, what: number): void {
    if (this.#tables.size + this.#places.size + this.#belated.size >= MAX_NOTES) {
      throw unfit("names too much that is not where it is looked for");
    }
    this.#use(cluster);
    notes.set(cluster / this.#clusterBytes, what);
  }

  /** Each cluster of the file is one thing, once. */
  #use(cluster: number): void {
    const number = cluster / this.#clusterBytes;
    const bit = 1 << (number % 8);
    const byte = Math.floor(number / 8);
    const before = this.#used[byte];
    if (before === undefined) throw unfit("has an entry that leads behind its end");
    if ((before & bit) !== 0) throw unfit("uses a cluster twice");
    this.#used[byte] = before | bit;
  }
}

function unfit(why: string): TrineError {
  return new TrineError("unimplemented", `the QCOW2 ${why}`);
}
