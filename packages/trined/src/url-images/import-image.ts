// A process of its own, started by trined: a name becomes an image of containerd's store. What it reads is hostile, what it computes
// is long, and a mapping's expressions may never end.
import { mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { TrineError, kindOf, messageOf } from "@trine/base";
import type { ErrorKind } from "@trine/base";
import { createImageStore } from "@trine/containerd-client";
import { DEFAULT_IMPORT_LIMITS, importDisk } from "@trine/image-import";
import type { Credentials, CredentialsOf, HttpSettings } from "@trine/image-import";
import { apiMappings } from "./api-mappings.ts";
import type { ApiSource } from "./api-mappings.ts";
import { isFetched, noteFetched } from "./fetched-before.ts";
import { parseMapping } from "./image-mapping.ts";
import type { ImageMapping } from "./image-mapping.ts";
import { sourceOf } from "./image-source.ts";
import type { ImageSource, SourceRules } from "./image-source.ts";
import { transportSettings } from "./transport-settings.ts";

const CRI_NAMESPACE = "k8s.io";
const MAX_FILES = 256;
const STALL_MS = 60_000;
const RETRIES = 4;
/** Of -1000 … 1000; kubelet gives pods of class Guaranteed -997, of BestEffort 1000. */
const OOM_SCORE = 500;
/** Characters: kubelet's event of it holds no more. */
const MAX_MESSAGE = 1024;

/** What trined wants: one line of JSON on stdin, which stays open as long as it wants it. */
export interface ImportOrder {
  readonly name: string;
  readonly rules: SourceRules;
  /** Directory of mappings, or empty. */
  readonly mappings: string;
  /** Absent: there are none in the API. */
  readonly api?: ApiSource | undefined;
  /** containerd's */
  readonly socket: string;
  readonly snapshotter: string;
  readonly workDir: string;
  readonly credentials?: Credentials | undefined;
}

/** Lines of JSON on stdout: first that the name has been understood, then how it ended. */
export type ImportWord =
  | { readonly resolved: string }
  | { readonly done: string }
  | { readonly failed: { readonly kind: ErrorKind; readonly message: string } };

/** Reads its order, and tells of it on stdout; the exit code. */
export async function importImage(): Promise<number> {
  await standInFront();
  const over = new AbortController();
  const lines = createInterface({ input: process.stdin });
  const order = new Promise<string>((resolve) => lines.once("line", resolve));
  // Whoever ordered it has gone, or wants it no more.
  lines.once("close", () => {
    over.abort(new TrineError("canceled", "the import is not wanted any more"));
  });
  try {
    const reference = await importOrdered(JSON.parse(await order) as ImportOrder, over.signal);
    say({ done: reference });
    return 0;
  } catch (cause) {
    const message = messageOf(cause).slice(0, MAX_MESSAGE);
    say({ failed: { kind: kindOf(cause), message } });
    return 1;
  } finally {
    process.stdin.destroy();
  }
}

/** Gives up trined's protection from the kernel's killer of processes: this one and its tools read what is hostile. */
async function standInFront(): Promise<void> {
  const file = "/proc/self/oom_score_adj";
  if (Number(await readFile(file, "utf8")) < OOM_SCORE) await writeFile(file, String(OOM_SCORE));
}

function say(word: ImportWord): void {
  process.stdout.write(`${JSON.stringify(word)}\n`);
}

async function importOrdered(order: ImportOrder, signal: AbortSignal): Promise<string> {
  const ofApi = order.api === undefined ? [] : await apiMappings(order.api);
  const mappings = [...(await readMappings(order.mappings)), ...ofApi];
  const source = sourceOf(order.name, mappings, order.rules);
  say({ resolved: source.reference });
  const dir = await mkdtemp(join(tmpdir(), "trine-import-"));
  const store = createImageStore(order.socket, CRI_NAMESPACE);
  const { timeout = 0 } = source.transport ?? {};
  const late = timeout === 0 ? [] : [AbortSignal.timeout(timeout)];
  const over = AbortSignal.any([signal, ...late]);
  try {
    const http = await httpOf(source, order.credentials, dir);
    if (await isFetched(store, source, http, over)) return source.reference;
    let version: string | undefined;
    await importDisk(
      store,
      {
        source: source.url.href,
        reference: source.reference,
        ...(source.checksum && { checksum: source.checksum }),
        limits: DEFAULT_IMPORT_LIMITS,
        http,
        retries: RETRIES,
        onVersion: ({ validator }) => {
          version = validator;
        },
        keepPartial: "never",
        workDir: order.workDir,
        snapshotter: order.snapshotter,
        architecture: "amd64",
      },
      () => undefined,
      over,
    );
    await noteFetched(store, source, version);
  } finally {
    store.close();
    await rm(dir, { recursive: true });
  }
  return source.reference;
}

/** Files of a directory in the order of their names. */
async function readMappings(dir: string): Promise<ImageMapping[]> {
  if (dir === "") return [];
  const names = (await readdir(dir)).filter((name) => /^[^.].*\.ya?ml$/.test(name)).sort();
  if (names.length > MAX_FILES)
    throw new TrineError("invalid", `${dir}: more than ${MAX_FILES} files`);
  return Promise.all(
    names.map(async (name) =>
      parseMapping(await readFile(join(dir, name), "utf8"), join(dir, name)),
    ),
  );
}

async function httpOf(
  { url, credentials, transport, mayFollow }: ImageSource,
  given: Credentials | undefined,
  dir: string,
): Promise<HttpSettings> {
  const own = credentials ?? given;
  const toItAlone: CredentialsOf = (host) => (host === url.host ? own : undefined);
  return {
    environment: process.env,
    credentials: toItAlone,
    stallMs: STALL_MS,
    ...(mayFollow && { mayFollow }),
    ...(transport === undefined ? {} : await transportSettings(transport, dir)),
  };
}
