import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import type { EngineConfig, EngineDeps, GuestImage } from "../deps.ts";
import { Engine } from "../engine.ts";
import type { PodRef } from "../requests.ts";
import { UidPool } from "../uid-pool.ts";
import { FakeShim } from "./fake-shim.ts";
import { SpawningDriver } from "./spawning-driver.ts";

const MIB = 1024 * 1024;
export const SANDBOX = "sandbox1";
/** The first user id that the pool of `OnePod` gives. */
export const FIRST_UID = 1_900_000_000;

export function newUids(): UidPool {
  return new UidPool({ base: FIRST_UID, count: 2 });
}

/** One pod's bundles, shim and VMM, and as many engines over them as a test wants, one after the other. */
export class OnePod {
  readonly dir: string;
  readonly shim: FakeShim;
  readonly driver = new SpawningDriver();
  /** A new daemon's pool is empty: a test that wants that puts another here. */
  uids = newUids();
  readonly ref: PodRef;
  readonly #engines: Engine[] = [];
  guestImage: () => Promise<GuestImage> = () => Promise.reject(new Error("no guest image"));
  roots: EngineDeps["roots"];
  bootMs = 10_000;
  /** Spares that the node keeps. */
  pool: EngineConfig["microvms"]["pool"] = [];

  private constructor(dir: string, shim: FakeShim) {
    this.dir = dir;
    this.shim = shim;
    this.ref = { namespace: "k8s.io", sandboxId: SANDBOX, address: shim.address };
  }

  /** `sandbox` is the config.json of the sandbox's bundle. */
  static async make(sandbox: object): Promise<OnePod> {
    const dir = await mkdtemp(join(tmpdir(), "te-"));
    const bundle = await writeBundle(dir, "sandbox", sandbox);
    const podDir = join(dir, "state/pods/p1");
    const shim = new FakeShim({ sandboxId: SANDBOX, bundle, podDir });
    await shim.listen();
    return new OnePod(dir, shim);
  }

  get podDir(): string {
    return join(this.dir, "state/pods/p1");
  }

  /** The bundle's directory, with an empty rootfs in it. */
  bundle(name: string, config: object): Promise<string> {
    return writeBundle(this.dir, name, config);
  }

  /** A daemon as it starts; the test detaches the one before. */
  engine(): Engine {
    const engine = new Engine({
      driver: this.driver,
      uids: this.uids,
      log: pino({ level: "silent" }),
      now: () => new Date(),
      guestImage: this.guestImage,
      ...(this.roots === undefined ? {} : { roots: this.roots }),
      config: this.#config(),
    });
    this.#engines.push(engine);
    return engine;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const engine of this.#engines) await engine.detach();
    await this.shim.die();
    await rm(this.dir, { recursive: true, force: true });
  }

  #config(): EngineConfig {
    return {
      stateDir: join(this.dir, "state"),
      rootDir: join(this.dir, "root"),
      accelerator: "tcg",
      machines: {
        defaultMemoryBytes: 64 * MIB,
        maxDiskBytes: 1024 * MIB,
        consoleSpoolBytes: MIB,
        uefi: undefined,
        powerButtonEveryMs: 10,
        virtiofsd: process.execPath,
        passt: process.execPath,
        agent: import.meta.filename,
        nestedShim: process.execPath,
      },
      microvms: {
        shim: "/usr/local/bin/containerd-shim-trine-microvm-v2",
        fileServer: "/usr/local/bin/trine-p9",
        defaultMemoryBytes: 128 * MIB,
        defaultCpus: 1,
        bootMs: this.bootMs,
        roots: { mkfs: "/usr/bin/mkfs.erofs" },
        pool: this.pool,
        templates: { most: 0, sizes: [] },
      },
    };
  }
}

async function writeBundle(dir: string, name: string, config: object): Promise<string> {
  const bundle = join(dir, name);
  await mkdir(join(bundle, "rootfs"), { recursive: true });
  await writeFile(join(bundle, "config.json"), JSON.stringify(config));
  return bundle;
}
