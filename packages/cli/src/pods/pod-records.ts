import { randomUUID } from "node:crypto";
import { mkdir, open, readFile, readdir, rename, unlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { TrineError, errnoOf, messageOf } from "@trine/base";
import type { Claims, Pod, Sources, VolumeHome } from "@trine/pod-spec";
import type { Io } from "../io.ts";
import { lockPod } from "./pod-lock.ts";
import type { LockWait } from "./pod-lock.ts";

const VERSION = 1;
const MAX_BYTES = 64 * 1024 * 1024;
/** Under the lock of a pod's record mounts and small files are made: seconds at most. */
const RECORD_WAIT_S = 60;

/** What is kept of a pod started by hand, so that it can be started again. */
export interface PodRecord {
  readonly version: typeof VERSION;
  readonly uid: string;
  readonly pod: Pod;
  /** Of the pod's namespace, values in base64. */
  readonly configMaps: Readonly<Record<string, Readonly<Record<string, string>>>>;
  readonly secrets: Readonly<Record<string, Readonly<Record<string, string>>>>;
  readonly claims: Claims;
  readonly cgroupParent: string;
  /** Sandboxes made so far. */
  readonly attempts: number;
  /** Why the last start failed; absent when it did not. */
  readonly failure?: { readonly time: string; readonly message: string };
  /** It is to go: nothing is made of it any more, and whoever starts it gives up. */
  readonly removing?: true;
}

/** Records under `<dataDir>/pods/UID/`; a name is taken by the file `<dataDir>/names/NAMESPACE_NAME`. */
export class PodRecords {
  readonly #dir: string;
  readonly #stateDir: string;

  constructor({ dataDir, stateDir }: Pick<Io, "dataDir" | "stateDir">) {
    this.#dir = dataDir;
    this.#stateDir = stateDir;
  }

  /** Takes the pod's name; kind `alreadyExists` when another has it. */
  async create(
    given: Omit<PodRecord, "version" | "uid" | "attempts" | "failure" | "removing">,
  ): Promise<PodRecord> {
    const record: PodRecord = { ...given, version: VERSION, uid: randomUUID(), attempts: 0 };
    await mkdir(join(this.#dir, "names"), { recursive: true, mode: 0o700 });
    await mkdir(join(this.#dir, "pods"), { recursive: true, mode: 0o700 });
    const name = this.#namePath(record.pod);
    try {
      await writeFile(name, record.uid, { flag: "wx", mode: 0o600 });
    } catch (cause) {
      if (errnoOf(cause) !== "EEXIST") throw cause;
      const what = `pod ${nameOf(record.pod)} exists`;
      throw new TrineError("alreadyExists", `${what}: \`trine rm\` removes it`, { cause });
    }
    await mkdir(this.logs(record.uid), { recursive: true, mode: 0o700 });
    await this.save(record);
    return record;
  }

  async save(record: PodRecord): Promise<void> {
    const path = join(this.#home(record.uid), "pod.json");
    const fresh = `${path}.${process.pid}.new`;
    const file = await open(fresh, "w", 0o600);
    try {
      await file.writeFile(JSON.stringify(record));
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(fresh, path);
  }

  /** By uid; undefined for a pod that others made. */
  async find(uid: string): Promise<PodRecord | undefined> {
    if (!/^[\w-]{1,64}$/.test(uid)) return undefined;
    const path = join(this.#home(uid), "pod.json");
    try {
      const text = await readFile(path, "utf8");
      if (text.length > MAX_BYTES) throw new Error("too long");
      const record = JSON.parse(text) as Omit<PodRecord, "version"> & { version: unknown };
      if (record.version === VERSION) return { ...record, version: VERSION };
    } catch (cause) {
      if (errnoOf(cause) === "ENOENT") return undefined;
      throw new TrineError("internal", `${path}: ${messageOf(cause)}`, { cause });
    }
    throw new TrineError("internal", `${path}: written by another release`);
  }

  /** Keeps, or with undefined takes away, the reason why the last start failed; of a removed pod nothing is kept. */
  async setFailure(uid: string, message: string | undefined): Promise<void> {
    await this.#locked(uid, async (record) => {
      if (record === undefined) return;
      const { failure, ...rest } = record;
      if (message !== undefined) {
        await this.save({ ...rest, failure: { time: new Date().toISOString(), message } });
      } else if (failure !== undefined) {
        await this.save(rest);
      }
    });
  }

  /**
   * For what makes files or mounts of a pod: it is not removed meanwhile, and nothing is made of a pod that
   * was or is to be (kind `notFound`). Not to be nested.
   */
  async whileThere<T>(uid: string, body: () => Promise<T>): Promise<T> {
    return this.#locked(uid, (record) => {
      requireKept(record);
      return body();
    });
  }

  /** Kind `notFound` when the pod was removed, or is to be. */
  async requireKept(uid: string): Promise<void> {
    requireKept(await this.find(uid));
  }

  /** Makes every start of the pod give up, the one under way included. */
  async markRemoving(uid: string): Promise<void> {
    await this.#locked(uid, async (record) => {
      if (record !== undefined) await this.save({ ...record, removing: true });
    });
  }

  /**
   * One process at a time starts or removes a pod. Kind `conflict` when another does for longer than `waitS`,
   * `canceled` when `signal` ends the wait. Not to be nested; the record's own lock is taken inside it.
   */
  async alone<T>(uid: string, wait: LockWait, body: () => Promise<T>): Promise<T> {
    return this.#holding("starts", uid, wait, body);
  }

  async list(): Promise<PodRecord[]> {
    const uids = await readdir(join(this.#dir, "pods")).catch((cause: unknown) => {
      if (errnoOf(cause) === "ENOENT") return [];
      throw cause;
    });
    const records = await Promise.all(uids.map((uid) => this.find(uid)));
    return records.filter((record) => record !== undefined);
  }

  /** Takes the volumes, the logs and at last the name away; repeatable. */
  async remove(record: Pick<PodRecord, "uid" | "pod">): Promise<void> {
    // Only those who remove pay for it: it comes with all of what a manifest is.
    const { removeTree, unmountBelow } = await import("@trine/pod-spec");
    await this.#locked(record.uid, async () => {
      for (const dir of [this.volumes(record.uid).memory, this.#home(record.uid)]) {
        await unmountBelow(dir);
        await removeTree(dir);
      }
      const name = this.#namePath(record.pod);
      if ((await readFile(name, "utf8").catch(() => "")) === record.uid) await unlink(name);
    });
  }

  logs(uid: string): string {
    return join(this.#home(uid), "logs");
  }

  volumes(uid: string): VolumeHome {
    return {
      disk: join(this.#home(uid), "volumes"),
      memory: join(this.#stateDir, "volumes", uid),
    };
  }

  hostsPath(uid: string): string {
    return join(this.#home(uid), "hosts");
  }

  #locked<T>(uid: string, body: (record: PodRecord | undefined) => T | Promise<T>): Promise<T> {
    const wait = { waitS: RECORD_WAIT_S };
    return this.#holding("locks", uid, wait, async () => body(await this.find(uid)));
  }

  /** With the pod its locks go. */
  async #holding<T>(
    kind: "locks" | "starts",
    uid: string,
    wait: LockWait,
    body: () => Promise<T>,
  ): Promise<T> {
    await using lock = await lockPod(join(this.#dir, kind), uid, wait);
    try {
      return await body();
    } finally {
      if ((await this.find(uid)) === undefined) await unlink(lock.path);
    }
  }

  #home(uid: string): string {
    return join(this.#dir, "pods", uid);
  }

  #namePath({ metadata }: Pod): string {
    return join(this.#dir, "names", `${metadata.namespace}_${metadata.name}`);
  }
}

function requireKept(record: PodRecord | undefined): void {
  if (record !== undefined && record.removing === undefined) return;
  const is = record === undefined ? "was removed meanwhile" : "is being removed (`trine rm`)";
  throw new TrineError("notFound", `it ${is}`);
}

export function nameOf({ metadata }: Pick<Pod, "metadata">): string {
  return `${metadata.namespace}/${metadata.name}`;
}

/** The sources of a pod's namespace, as JSON. */
export function recordSources(
  pod: Pod,
  sources: Sources,
): Pick<PodRecord, "configMaps" | "secrets"> {
  const prefix = `${pod.metadata.namespace}/`;
  const toJson = (map: Sources["secrets"]): PodRecord["secrets"] =>
    Object.fromEntries(
      [...map]
        .filter(([key]) => key.startsWith(prefix))
        .map(([key, data]) => [
          key,
          Object.fromEntries([...data].map(([name, value]) => [name, value.toString("base64")])),
        ]),
    );
  return { configMaps: toJson(sources.configMaps), secrets: toJson(sources.secrets) };
}

/** The way back. */
export function sourcesOf(record: Pick<PodRecord, "configMaps" | "secrets">): Sources {
  const toMap = (all: PodRecord["secrets"]): Sources["secrets"] =>
    new Map(
      Object.entries(all).map(([key, data]) => [
        key,
        new Map(Object.entries(data).map(([name, value]) => [name, Buffer.from(value, "base64")])),
      ]),
    );
  return { configMaps: toMap(record.configMaps), secrets: toMap(record.secrets) };
}
