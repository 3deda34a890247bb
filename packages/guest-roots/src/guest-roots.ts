import { mkdir, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { SerialQueue, errnoOf, kindOf, messageOf } from "@trine/base";
import { createImageStore } from "@trine/containerd-client";
import type { ImageStore } from "@trine/containerd-client";
import type { Logger } from "pino";
import { buildImage, releaseLayers } from "./build-image.ts";
import type { Builder, ImageBuild } from "./build-image.ts";
import { checkErofs, uuidOfChain } from "./erofs-file.ts";
import { OriginNotes, hasSnapshot, imageOf, readOrigins } from "./image-origins.ts";
import type { OpenStore, Origin } from "./image-origins.ts";
import { LayerPrototype } from "./layer-prototype.ts";
import { overlayRoot } from "./overlay-root.ts";
import type { SnapshotMount } from "./overlay-root.ts";
import { placeLayer } from "./place-layer.ts";

/** Part of the files' names: what is made in another way is made again. */
const FORMAT = "v1";
const FILE = /^v1-([0-9a-f]{64})\.(erofs|json)$/;
/** After a build has failed, so long until the next start of a container tries again. */
const RETRY_MS = 10 * 60_000;
const COLLECT_EVERY_MS = 60 * 60_000;

export interface GuestRootsOptions {
  /** On disk; made with this. */
  readonly dir: string;
  readonly log: Logger;
  readonly builder: Omit<Builder, "openStore">;
  /** Size of a container's writable layer, as its programs see it. */
  readonly layerBytes: number;
  readonly now?: () => number;
}

/** A container whose root is wanted. */
export interface RootSource {
  /** Socket of the containerd it is in, and its namespace there; empty = none that is known. */
  readonly containerd: string;
  readonly namespace: string;
  readonly id: string;
  readonly mounts: readonly SnapshotMount[];
}

export type RootAnswer =
  /** The image's file, which all users may read, and the upper directory of the container's snapshot. */
  | { readonly kind: "ready"; readonly image: string; readonly upperDir: string }
  /** It is being made, in the background; `ended`, which never rejects, tells when that has gone well or not. */
  | { readonly kind: "building"; readonly ended: Promise<void> }
  /** There will be none. */
  | { readonly kind: "none"; readonly why: string };

/**
 * The images of a node as erofs files, one for each chain id, and the empty writable layers above them. Files are
 * made in the background, one at a time, when a container first asks for them, and go when no containerd
 * has the image any more: what a container is made of its containerd keeps, so none in use goes.
 */
export class GuestRoots {
  readonly #options: GuestRootsOptions;
  readonly #openStore: OpenStore;
  readonly #stores = new Map<string, ImageStore>();
  readonly #builds = new SerialQueue();
  readonly #notes = new OriginNotes();
  /** By the digits of the chain id: being made or removed, and failed at. */
  readonly #busy = new Map<string, Promise<void>>();
  readonly #failed = new Map<string, number>();
  readonly #stopped = new AbortController();
  #prototype: Promise<LayerPrototype> | undefined;
  #timer: NodeJS.Timeout | undefined;

  private constructor(options: GuestRootsOptions) {
    this.#options = options;
    this.#openStore = (socket, namespace) => {
      const name = `${namespace} ${socket}`;
      const known = this.#stores.get(name) ?? createImageStore(socket, namespace);
      this.#stores.set(name, known);
      return known;
    };
  }

  /** Removes what a daemon that was killed has left of its builds, and what no containerd has any more. */
  static async open(options: GuestRootsOptions): Promise<GuestRoots> {
    const roots = new GuestRoots(options);
    await rm(roots.#scratchDir, { recursive: true, force: true });
    await mkdir(roots.#scratchDir, { recursive: true, mode: 0o700 });
    void roots.collect();
    roots.#timer = setInterval(() => {
      void roots.collect();
    }, COLLECT_EVERY_MS);
    roots.#timer.unref();
    return roots;
  }

  /** Looks for a container's root and, where it can be had and is not there yet, begins to make it. */
  async find(source: RootSource): Promise<RootAnswer> {
    const overlay = overlayRoot(source.mounts);
    if (overlay === undefined) return { kind: "none", why: "its root is no overlay of an image" };
    if (source.containerd === "") return { kind: "none", why: "it is no containerd's" };
    const image = await imageOf(this.#openStore, source);
    if (image === undefined) return { kind: "none", why: "its root is no image's snapshot" };
    const hex = image.chain.slice("sha256:".length);
    const busy = this.#busy.get(hex);
    if (busy !== undefined) return { kind: "building", ended: busy };
    const path = this.#path(hex, "erofs");
    if (await this.#isThere(hex)) {
      await this.#noteOrigin(hex, image.origin);
      return { kind: "ready", image: path, upperDir: overlay.upperDir };
    }
    const begun = this.#busy.get(hex); // by another that looked at the same time
    if (begun !== undefined) return { kind: "building", ended: begun };
    const failedAt = this.#failed.get(hex);
    if (failedAt !== undefined && this.#now() - failedAt < RETRY_MS) {
      return { kind: "none", why: "its image's file could not be made" };
    }
    const { layers } = overlay;
    const build = { hex, origin: image.origin, layers, path, scratchDir: this.#scratchDir };
    return { kind: "building", ended: this.#begin(build) };
  }

  /**
   * A writable layer in the upper directory of a container's snapshot, for the user `uid`; undefined when there
   * is something else in it.
   */
  async placeLayer(upperDir: string, uid: number): Promise<string | undefined> {
    return placeLayer(upperDir, uid, () => this.#layerPrototype());
  }

  /** Removes files whose image no containerd has. Failures are logged: the next time tries again. */
  async collect(): Promise<void> {
    try {
      const names = await readdir(this.#options.dir);
      const hexes = new Set(names.flatMap((name) => FILE.exec(name)?.[1] ?? []));
      for (const hex of hexes) await this.#collectOne(hex);
    } catch (cause) {
      this.#options.log.error({ err: messageOf(cause) }, "images' files could not be collected");
    }
  }

  /** Waits until nothing is being made or removed. */
  async settled(): Promise<void> {
    while (this.#busy.size > 0) await Promise.all(this.#busy.values());
  }

  /** Ends what is being made; nothing of it is left. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    this.#stopped.abort();
    await this.settled();
    for (const store of this.#stores.values()) store.close();
  }

  /** Whole and of this image. Anything else is removed, to be made again. */
  async #isThere(hex: string): Promise<boolean> {
    const path = this.#path(hex, "erofs");
    try {
      await checkErofs(path, uuidOfChain(hex));
      return true;
    } catch (cause) {
      if (errnoOf(cause) === "ENOENT") return false;
      if (kindOf(cause) !== "malformed") throw cause;
      this.#options.log.error({ err: messageOf(cause) }, "an image's file is not whole");
      await rm(path, { force: true });
      return false;
    }
  }

  #begin(build: ImageBuild): Promise<void> {
    const { log, builder } = this.#options;
    const { hex, origin, path } = build;
    return this.#do(hex, async () => {
      const startedMs = performance.now();
      try {
        await this.#builds.run(async () => {
          this.#stopped.signal.throwIfAborted();
          await this.#noteOrigin(hex, origin); // first: it tells where a lease may be left
          const made = { ...builder, openStore: this.#openStore };
          await buildImage(made, build, this.#stopped.signal);
        });
        this.#failed.delete(hex);
        log.info({ path, tookMs: performance.now() - startedMs }, "an image's file was made");
      } catch (cause) {
        if (this.#stopped.signal.aborted) return;
        this.#failed.set(hex, this.#now());
        log.error({ err: messageOf(cause), chain: hex }, "an image's file could not be made");
      }
    });
  }

  async #collectOne(hex: string): Promise<void> {
    if (this.#busy.has(hex)) return;
    const origins = await readOrigins(this.#path(hex, "json"));
    const built = await this.#isThere(hex);
    for (const origin of built ? [] : origins) {
      await releaseLayers(this.#openStore, { origin, hex });
    }
    for (const origin of built ? origins : []) {
      if (await hasSnapshot(this.#openStore, origin, `sha256:${hex}`)) return;
    }
    if (this.#busy.has(hex)) return; // asked for meanwhile
    await this.#do(hex, async () => {
      await rm(this.#path(hex, "erofs"), { force: true });
      await rm(this.#path(hex, "json"), { force: true });
      if (built) this.#options.log.info({ chain: hex }, "an image's file was removed");
    });
  }

  #noteOrigin(hex: string, origin: Origin): Promise<void> {
    return this.#notes.note(this.#path(hex, "json"), origin);
  }

  #do(hex: string, work: () => Promise<void>): Promise<void> {
    const doing = work().finally(() => this.#busy.delete(hex));
    this.#busy.set(hex, doing);
    return doing;
  }

  #layerPrototype(): Promise<LayerPrototype> {
    const { layerBytes } = this.#options;
    const making = (this.#prototype ??= LayerPrototype.make(
      join(this.#scratchDir, "layer.ext4"),
      layerBytes,
    ));
    making.catch(() => {
      if (this.#prototype === making) this.#prototype = undefined; // the next caller tries again
    });
    return making;
  }

  get #scratchDir(): string {
    return join(this.#options.dir, "making");
  }

  #path(hex: string, kind: "erofs" | "json"): string {
    return join(this.#options.dir, `${FORMAT}-${hex}.${kind}`);
  }

  #now(): number {
    return (this.#options.now ?? Date.now)();
  }
}
