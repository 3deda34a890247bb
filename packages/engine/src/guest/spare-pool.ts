import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { messageOf, sleep } from "@trine/base";
import { isThere } from "../is-there.ts";
import { namesIn } from "../names-in.ts";
import { openUnlessDead } from "../open-shim.ts";
import { decodeDocument } from "../pod-document.ts";
import { SPARES, podFiles } from "../pod-files.ts";
import { noteUid } from "../noted-uid.ts";
import type { PodDeps } from "../pod-context.ts";
import { endTemplate } from "./end-template.ts";
import { READY_FILE, makeSpare } from "./make-spare.ts";
import { Misgivings } from "./misgivings.ts";
import { classNameOf, classesOf, writeClass } from "./spare-class.ts";
import type { SpareClass } from "./spare-class.ts";
import { newName } from "./spare.ts";
import type { Spare, SpareClaims, SpareSummary } from "./spare.ts";
import { heldBytes, ownerOf, spareKey } from "./spare-identity.ts";

/** Between two looks at the spares when nothing happens. */
const LOOK_MS = 10_000;
/** After a pod's start nothing is made for so long: it has the processors. */
const QUIET_MS = 2_000;

type SpareDeps = Omit<PodDeps, "spares">;

/**
 * The node's spares: shims with a guest that has booted and no pod, kept in number. `start` of a shim claims
 * one without asking; this object learns of it when the pod's first call comes, or when it looks.
 */
export class SparePool {
  readonly #deps: SpareDeps;
  readonly #dir: string;
  readonly #classes: readonly SpareClass[];
  readonly #spares = new Map<string, Spare>();
  /** Claimed, and their pods have not come yet: their user ids are in use. */
  readonly #leaving = new Map<string, Spare>();
  readonly #misgivings = new Misgivings();
  readonly #end = new AbortController();
  readonly #claims = { used: 0, missed: 0, refused: 0 };
  #wake = Promise.withResolvers<undefined>();
  #quietMs = 0;
  #running: Promise<void> | undefined;

  constructor(deps: SpareDeps) {
    this.#deps = deps;
    this.#dir = join(deps.config.stateDir, SPARES);
    this.#classes = classesOf(deps.config);
  }

  get claims(): SpareClaims {
    return this.#claims;
  }

  /** Takes over the spares an earlier daemon left; ends what is half made. Answers their names. */
  async adoptAll(): Promise<ReadonlySet<string>> {
    for (const className of await namesIn(this.#dir)) {
      const dir = join(this.#dir, className);
      const entries = await readdir(dir, { withFileTypes: true });
      const names = entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name);
      await Promise.all(names.map((name) => this.#adopt(join(dir, name), className, name)));
    }
    return new Set(this.#spares.keys());
  }

  /** Keeps their number, in the background. */
  start(): void {
    if (this.#classes.length === 0 && this.#spares.size === 0) return;
    this.postpone(); // pods may have waited for this daemon
    this.#running = this.#keep();
  }

  /** A pod is starting: it comes first. */
  postpone(): void {
    this.#quietMs = performance.now() + QUIET_MS;
  }

  /** A pod has come with this one as its shim, and uses its guest or does not. */
  claimed(name: string, isUsed: boolean): void {
    this.#claims[isUsed ? "used" : "refused"] += 1;
    const className = (this.#spares.get(name) ?? this.#leaving.get(name))?.className;
    if (isUsed && className !== undefined) this.#misgivings.clear(className);
    this.#forget(name);
    this.#wake.resolve(undefined);
  }

  /** A pod has booted its own guest. */
  missed(): void {
    if (this.#classes.length > 0) this.#claims.missed += 1;
  }

  /** Of these programs and this size are the spares that are made now. */
  keyOf(size: Pick<SpareClass, "cpus" | "memoryBytes">): Promise<string> {
    return spareKey(this.#deps, size, this.#end.signal);
  }

  async list(): Promise<SpareSummary[]> {
    return Promise.all(
      this.#classes.map(async ({ count, ...size }) => {
        const ready = this.#ofClass(classNameOf(size));
        const pids = ready.flatMap((spare) => spare.pids);
        return { ...size, wanted: count, ready: ready.length, heldBytes: await heldBytes(pids) };
      }),
    );
  }

  /** Leaves them to the next daemon; what is half made it ends. */
  async detach(): Promise<void> {
    this.#end.abort();
    this.#wake.resolve(undefined);
    await this.#running;
    for (const name of [...this.#spares.keys(), ...this.#leaving.keys()]) this.#forget(name);
  }

  async #keep(): Promise<void> {
    const { signal } = this.#end;
    await this.#writeClasses().catch((cause: unknown) => {
      this.#deps.log.error({ err: messageOf(cause) }, "no shim can find a spare");
    });
    while (!signal.aborted) {
      this.#wake = Promise.withResolvers(); // what happens during the turn is seen in the next
      const more = await this.#turn().catch((cause: unknown) => {
        this.#deps.log.error({ err: messageOf(cause) }, "the spares could not be looked at");
        return false;
      });
      if (more) continue;
      const look = sleep(LOOK_MS, signal).catch(() => undefined); // an abort ends the loop
      await Promise.race([this.#wake.promise, look]);
    }
  }

  async #writeClasses(): Promise<void> {
    const { defaultCpus, defaultMemoryBytes } = this.#deps.config.microvms;
    const node = { cpus: defaultCpus, memoryBytes: defaultMemoryBytes };
    for (const size of this.#classes) await writeClass(this.#dirOf(size), size, node);
  }

  /** True: there may be more to do. */
  async #turn(): Promise<boolean> {
    for (const spare of [...this.#spares.values()]) await this.#look(spare);
    const names = new Set(this.#classes.map(classNameOf));
    for (const spare of [...this.#spares.values()]) {
      if (!names.has(spare.className)) await this.#drop(spare, "none of its size is wanted");
    }
    for (const size of this.#classes) {
      if (await this.#turnOf(size)) return true;
    }
    return false;
  }

  async #turnOf(size: SpareClass): Promise<boolean> {
    const name = classNameOf(size);
    if (this.#misgivings.of(name) !== undefined) return false;
    let key: string;
    try {
      key = await this.keyOf(size);
    } catch (cause) {
      return this.#doubt(name, messageOf(cause));
    }
    const { signal } = this.#end;
    for (const [index, spare] of this.#ofClass(name).entries()) {
      if (spare.key !== key) await this.#drop(spare, "its kernel, agent or VMM is another by now");
      else if (index >= size.count) await this.#drop(spare, "there are more than are wanted");
    }
    if (this.#ofClass(name).length >= size.count) return false;
    while (performance.now() < this.#quietMs) {
      await sleep(this.#quietMs - performance.now(), signal).catch(() => undefined);
      if (signal.aborted) return false;
    }
    return this.#fill(size, name, key);
  }

  async #fill(size: SpareClass, className: string, key: string): Promise<boolean> {
    const { log } = this.#deps;
    const name = newName();
    const dir = join(this.#dirOf(size), name);
    const began = performance.now();
    try {
      const deps = { ...this.#deps, spares: this };
      const shim = await makeSpare(deps, { dir, name, key }, size, this.#end.signal);
      const spare = { name, dir, className, key, shim, pids: [] };
      this.#hold(spare);
      await this.#look(spare);
      log.info({ spare: name, ms: Math.round(performance.now() - began) }, "a spare is ready");
      return true;
    } catch (cause) {
      if (this.#end.signal.aborted) return false; // the next daemon ends it
      await this.#removeHalfMade(dir, name);
      return this.#doubt(className, messageOf(cause));
    }
  }

  #doubt(className: string, why: string): false {
    this.#misgivings.add(className, why);
    this.#deps.log.error({ class: className, err: why }, "no spare could be made");
    return false;
  }

  /** One that is a pod's by now is that pod's; one that has lost a child is of no use. */
  async #look(spare: Spare): Promise<void> {
    try {
      const { sandboxId, pid, children } = await spare.shim.describe();
      spare.pids = [pid, ...children.filter((each) => each.running).map((each) => each.pid)];
      if (sandboxId !== spare.name) this.#leave(spare);
      else if (children.some((each) => !each.running)) {
        this.#misgivings.add(spare.className, "a spare has ended");
        await this.#drop(spare, "its VMM or file server has ended");
      }
    } catch (cause) {
      if (this.#spares.get(spare.name) === spare) await this.#drop(spare, messageOf(cause));
    }
  }

  async #adopt(dir: string, className: string, name: string): Promise<void> {
    const { log, uids } = this.#deps;
    try {
      await noteUid(uids, ownerOf(name), dir);
      const shim = await openUnlessDead(dir);
      const { state, sandboxId } = (await shim?.describe()) ?? {};
      const record = state === undefined ? undefined : decodeDocument(state).spare;
      const isReady = await isThere(join(dir, READY_FILE));
      if (shim !== undefined && record !== undefined && isReady && sandboxId === name) {
        uids.adopt(record.guest.uid, ownerOf(name));
        this.#hold({ name, dir, className, key: record.key, shim, pids: [] });
        return;
      }
      shim?.close();
      log.info({ spare: name }, "a spare that is half made or dead is removed");
      if (isReady) await this.#remove(dir, name);
      else await this.#removeHalfMade(dir, name);
    } catch (cause) {
      log.error({ dir, err: messageOf(cause) }, "a spare could be neither adopted nor ended");
    }
  }

  #hold(spare: Spare): void {
    this.#spares.set(spare.name, spare);
    void spare.shim.closed.then(() => {
      if (this.#spares.get(spare.name) !== spare) return;
      this.#misgivings.add(spare.className, "a spare has ended");
      void this.#drop(spare, "its shim has ended");
    });
  }

  /** It runs on. */
  #forget(name: string): void {
    const spare = this.#spares.get(name) ?? this.#leaving.get(name);
    this.#spares.delete(name);
    this.#leaving.delete(name);
    spare?.shim.close();
  }

  /** It is a pod's by now. One whose pod never comes is over with its shim. */
  #leave(spare: Spare): void {
    this.#spares.delete(spare.name);
    this.#leaving.set(spare.name, spare);
    void spare.shim.closed.then(async () => {
      if (!this.#leaving.delete(spare.name)) return;
      this.#deps.log.info({ spare: spare.name }, "a spare was claimed for a pod that never came");
      await this.#letGo(spare.dir, spare.name);
    });
  }

  async #drop(spare: Spare, why: string): Promise<void> {
    this.#deps.log.info({ spare: spare.name, why }, "a spare is ended");
    this.#spares.delete(spare.name);
    if (await this.#remove(spare.dir, spare.name)) spare.shim.close();
    else this.#leave(spare);
  }

  /** False: it was claimed meanwhile. */
  async #remove(dir: string, name: string): Promise<boolean> {
    try {
      if (!(await endTemplate(dir))) return false;
      await this.#letGo(dir, name);
    } catch (cause) {
      const words = "a spare does not end; the next daemon tries again";
      this.#deps.log.error({ dir, err: messageOf(cause) }, words);
    }
    return true;
  }

  /** Nobody has claimed it: it never was ready. */
  async #removeHalfMade(dir: string, name: string): Promise<void> {
    if (!(await this.#remove(dir, name))) await this.#letGo(dir, name);
  }

  /** Nothing of it runs any more. */
  async #letGo(dir: string, name: string): Promise<void> {
    this.#deps.uids.release(ownerOf(name));
    await rm(podFiles(this.#deps.config, dir).diskDir, { recursive: true, force: true });
  }

  #ofClass(className: string): Spare[] {
    return [...this.#spares.values()].filter((spare) => spare.className === className);
  }

  #dirOf(size: SpareClass): string {
    return join(this.#dir, classNameOf(size));
  }
}
