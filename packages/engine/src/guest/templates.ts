import { createHash } from "node:crypto";
import { mkdir } from "node:fs/promises";
import { basename, join } from "node:path";
import { SerialQueue, kindOf, messageOf } from "@trine/base";
import type { ShimLink } from "@trine/shim-client";
import type { MachineSpec } from "@trine/vmm";
import type { EngineDeps } from "../deps.ts";
import { makeShim } from "../make-shim.ts";
import { namesIn } from "../names-in.ts";
import { openUnlessDead } from "../open-shim.ts";
import { noteUid, releaseUid, takeUid } from "../noted-uid.ts";
import { buildTemplate, templateMachine } from "./build-template.ts";
import { growingMachine } from "./grow-guest.ts";
import { guestMachine } from "./guest-machine.ts";
import type { GuestStart, WhyCold } from "./guest-start.ts";
import { summaryOf } from "./held-template.ts";
import type { HeldTemplate, TemplateSummary } from "./held-template.ts";
import { endTemplate } from "./end-template.ts";
import { Misgivings } from "./misgivings.ts";
import type { GuestSize } from "../pod-document.ts";
import { decodeTemplateRecord } from "./template-record.ts";
import type { TemplateRecord } from "./template-record.ts";

/** Time for the VMM and the shim, beside the guest's own. */
const BUILD_MS = 60_000;
/** One that was used within this time does not make room for another. */
const KEEP_MS = 10 * 60_000;
/** Of a key: enough to tell templates apart, short enough for socket paths. */
const NAME_DIGITS = 16;

/**
 * The templates of this node. Each is held by a shim of its own in `<state>/templates/<name>/`, made in the
 * background, one at a time, when the daemon starts or the first pod that could use it comes; no pod waits for
 * one.
 */
export class Templates {
  readonly #deps: EngineDeps;
  readonly #dir: string;
  /** By key. */
  readonly #held = new Map<string, HeldTemplate>();
  readonly #making = new Set<string>();
  readonly #queue = new SerialQueue();
  readonly #misgivings = new Misgivings();
  readonly #end = new AbortController();

  constructor(deps: EngineDeps) {
    this.#deps = deps;
    this.#dir = join(deps.config.stateDir, "templates");
  }

  /** Takes over what an earlier daemon left: what is whole and still fits is kept, the rest is ended. */
  async adoptAll(): Promise<void> {
    const names = await namesIn(this.#dir);
    await Promise.all(names.map((name) => this.#adopt(join(this.#dir, name))));
  }

  /** Makes those that the configuration names, in the background. */
  makeConfigured(): void {
    const { accelerator, microvms } = this.#deps.config;
    const { templates } = microvms;
    const make = async (): Promise<void> => {
      const image = await this.#deps.guestImage();
      const nobody = { id: "template", uuid: "", interfaces: [{ mac: "", mtu: 0 }] };
      for (const size of this.#bases().slice(0, templates.most)) {
        await this.startOf(guestMachine(nobody, size, { image, accelerator }));
      }
    };
    if (templates.most === 0) return;
    make().catch((cause: unknown) => {
      // Most likely a node for other levels, without a guest image; a microvm pod would say so itself.
      this.#deps.log.info({ why: messageOf(cause) }, "no template is made at start");
    });
  }

  /**
   * How a machine is to start, and what it is then: one that can grow, and is of a template where there is one. Never
   * fails and never waits: without a template it boots, and one is made.
   */
  async startOf(wanted: MachineSpec): Promise<{ start: GuestStart; spec: MachineSpec }> {
    const { config, driver } = this.#deps;
    const spec = growingMachine(wanted, this.#bases());
    if (config.microvms.templates.most === 0) return { start: cold("off"), spec };
    try {
      const key = await driver.templateKey(asTemplate(spec), this.#end.signal);
      const held = this.#held.get(key);
      if (held === undefined) return { start: cold(...this.#want(key, spec)), spec };
      held.usedMs = performance.now();
      const clone = { ...spec, origin: { template: held.record.template } };
      return { start: { how: "clone" }, spec: clone };
    } catch (cause) {
      return { start: cold("failed", messageOf(cause)), spec };
    }
  }

  /** The pod runs as a clone of it. */
  used(key: string): void {
    const held = this.#held.get(key);
    if (held !== undefined) held.clones += 1;
    this.#misgivings.clear(key);
  }

  /** A clone of it did not come up: it is ended, and another is made after a while. */
  distrust(key: string, why: string): void {
    this.#misgivings.add(key, why);
    const held = this.#held.get(key);
    if (held !== undefined) this.#drop(held, why);
  }

  async list(): Promise<TemplateSummary[]> {
    return Promise.all([...this.#held.values()].map(summaryOf));
  }

  /** Names of those that are being made now. */
  get making(): number {
    return this.#making.size;
  }

  /** Leaves them to the next daemon; what is being made then is made anew. */
  async detach(): Promise<void> {
    this.#end.abort();
    await this.#queue.run(() => Promise.resolve());
    for (const { shim } of this.#held.values()) shim.close();
    this.#held.clear();
  }

  /** What pods of at least this size go on from. */
  #bases(): GuestSize[] {
    const { templates, defaultMemoryBytes, defaultCpus: cpus } = this.#deps.config.microvms;
    const sizes = templates.sizes.length === 0 ? [defaultMemoryBytes] : templates.sizes;
    return sizes.map((memoryBytes) => ({ memoryBytes, cpus }));
  }

  /** Why there is none of this kind, after having seen to it that there will be. */
  #want(key: string, spec: MachineSpec): [WhyCold, string?] {
    if (this.#making.has(key)) return ["making"];
    const trouble = this.#misgivings.of(key);
    if (trouble !== undefined) return ["failed", trouble];
    const other = [...this.#held.values()].find(({ record }) => isAlike(record.spec, spec));
    if (other !== undefined) this.#drop(other, "its kernel, agent or VMM is another by now");
    if (!this.#makeRoom()) return ["no-room", "microvms.templates.most are in use"];
    this.#making.add(key);
    void this.#queue.run(() => this.#make(key, spec));
    return [other === undefined ? "making" : "changed"];
  }

  /** The longest unused goes, unless it was used just now. */
  #makeRoom(): boolean {
    const { most } = this.#deps.config.microvms.templates;
    if (this.#held.size + this.#making.size < most) return true;
    const [oldest] = [...this.#held.values()].sort((a, b) => a.usedMs - b.usedMs);
    if (oldest === undefined || performance.now() - oldest.usedMs < KEEP_MS) return false;
    this.#drop(oldest, "another is wanted");
    return true;
  }

  async #make(key: string, like: MachineSpec): Promise<void> {
    const { log, config, uids } = this.#deps;
    const name = nameOf(key);
    const dir = join(this.#dir, name);
    const owner = ownerIn(dir);
    const began = performance.now();
    let shim: ShimLink | undefined;
    try {
      this.#end.signal.throwIfAborted();
      await mkdir(this.#dir, { recursive: true, mode: 0o700 });
      shim = await makeShim(config, dir, name);
      const record: TemplateRecord = {
        ...{ version: 1, key, uid: await takeUid(uids, owner, dir) },
        spec: templateMachine(dir, like),
      };
      const until = AbortSignal.timeout(config.microvms.bootMs + BUILD_MS);
      const signal = AbortSignal.any([this.#end.signal, until]);
      const done = await buildTemplate(this.#deps, { dir, shim, record }, signal);
      const { pid } = await shim.describe();
      this.#hold(dir, shim, pid, done);
      const ms = Math.round(performance.now() - began);
      log.info({ template: name, ms, memoryBytes: like.memoryBytes }, "a template has been made");
      await releaseUid(uids, owner, dir);
    } catch (cause) {
      shim?.close();
      if (this.#end.signal.aborted) return; // the next daemon ends what is half made
      this.#misgivings.add(key, messageOf(cause));
      log.error({ template: name, err: messageOf(cause) }, "a template could not be made");
      await this.#remove(dir);
    } finally {
      this.#making.delete(key);
    }
  }

  async #adopt(dir: string): Promise<void> {
    const { log, uids } = this.#deps;
    try {
      await noteUid(uids, ownerIn(dir), dir);
      const shim = await openUnlessDead(dir);
      if (shim === undefined) {
        await endTemplate(dir);
        uids.release(ownerIn(dir));
        return;
      }
      const { state, pid } = await shim.describe();
      const record = decodeTemplateRecord(state);
      if (record !== undefined && (await this.#fits(record))) {
        this.#hold(dir, shim, pid, record);
        await releaseUid(uids, ownerIn(dir), dir); // nothing runs in it
        return;
      }
      shim.close();
      log.info({ dir }, "a template that is half made or fits no more is ended");
      await this.#remove(dir);
    } catch (cause) {
      log.error({ dir, err: messageOf(cause) }, "a template could be neither adopted nor ended");
    }
  }

  /** Whole, and of the kernel, agent and VMM that this node has now. */
  async #fits(record: TemplateRecord): Promise<boolean> {
    if (record.template === undefined) return false;
    try {
      return (await this.#deps.driver.templateKey(record.spec, this.#end.signal)) === record.key;
    } catch (cause) {
      if (kindOf(cause) === "unavailable") return false; // what it booted is gone
      throw cause;
    }
  }

  #hold(dir: string, shim: ShimLink, pid: number, record: TemplateRecord): void {
    const { template } = record;
    if (template === undefined) return;
    const held = {
      dir,
      shim,
      pid,
      record: { ...record, template },
      usedMs: performance.now(),
      clones: 0,
    };
    this.#held.set(record.key, held);
    void shim.closed.then(() => {
      if (this.#end.signal.aborted || this.#held.get(record.key) !== held) return;
      this.#drop(held, "its shim has ended");
    });
  }

  #drop(held: HeldTemplate, why: string): void {
    const { key } = held.record;
    this.#deps.log.warn({ template: nameOf(key), why }, "a template is ended");
    this.#held.delete(key);
    held.shim.close();
    void this.#queue.run(() => this.#remove(held.dir));
  }

  async #remove(dir: string): Promise<void> {
    const { log, uids } = this.#deps;
    try {
      await endTemplate(dir);
      uids.release(ownerIn(dir));
    } catch (cause) {
      log.error(
        { dir, err: messageOf(cause) },
        "a template does not end; the next daemon tries again",
      );
    }
  }
}

function cold(why: WhyCold, detail?: string): GuestStart {
  return { how: "cold", why, ...(detail === undefined ? {} : { detail }) };
}

/** Only what the key is made of. */
function asTemplate(spec: MachineSpec): MachineSpec {
  return templateMachine("/", spec);
}

/** Of two sizes a node may well have both. */
function isAlike(one: MachineSpec, other: MachineSpec): boolean {
  const kind = ({ cpus, memoryBytes, nics, slots }: MachineSpec): string =>
    JSON.stringify([cpus, memoryBytes, nics.length, slots?.readOnly, slots?.writable]);
  return kind(one) === kind(other);
}

function nameOf(key: string): string {
  return createHash("sha256").update(key).digest("hex").slice(0, NAME_DIGITS);
}

/** Owner of a template's user id while its VMM runs. */
function ownerIn(dir: string): string {
  return `template ${basename(dir)}`;
}
