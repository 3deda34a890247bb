import type { Duplex } from "node:stream";
import { TrineError } from "@trine/base";
import * as v from "valibot";
import { DoorRequests } from "./door-requests.ts";
import { machinesSchema } from "./door-event.ts";
import type { DoorEvent } from "./door-event.ts";
import { fileSystemListSchema, guestOsInfoSchema, userListSchema } from "./guest-info.ts";
import type { GuestFileSystemList, GuestOsInfo, GuestUserList } from "./guest-info.ts";
import { machineReportSchema } from "./machine-report.ts";
import type { MachineRef, MachineReport } from "./machine-report.ts";
import type {
  DoorOptions,
  MachineSize,
  MachineVerb,
  NodeDoor,
  StreamOptions,
} from "./node-door.ts";
import { importsSchema } from "./volume-order.ts";
import type { ImportReport } from "./volume-order.ts";
import { watchDoor } from "./watch-door.ts";

const MIB = 1024 * 1024;
/** A guest has half a minute to follow with its memory and as long with its CPUs, and each time as long to go back. */
const RESIZE_MS = 150_000;
const MAX_LIST_BYTES = 32 * MIB;
const MAX_ONE_BYTES = MIB;
const MAX_METRICS_BYTES = 16 * MIB;
const MAX_PICTURE_BYTES = 64 * MIB;

/** A node's door; nothing is sent before the first call. */
export function openDoor(options: DoorOptions): NodeDoor {
  return new HttpsDoor(options);
}

class HttpsDoor implements NodeDoor {
  readonly #node: string;
  readonly #requests: DoorRequests;

  constructor(options: DoorOptions) {
    this.#node = options.node;
    this.#requests = new DoorRequests(options);
  }

  async machines(signal?: AbortSignal): Promise<readonly MachineReport[]> {
    const asked = { path: "/v1/machines", max: MAX_LIST_BYTES };
    return (await this.#get(asked, machinesSchema, signal)).items;
  }

  machine(ref: MachineRef, signal?: AbortSignal): Promise<MachineReport> {
    return this.#get({ path: pathOf(ref) }, machineReportSchema, signal);
  }

  watch(signal: AbortSignal): AsyncIterable<DoorEvent> {
    return watchDoor(this.#requests, { node: this.#node, maxLineBytes: MAX_LIST_BYTES }, signal);
  }

  async act(
    ref: MachineRef,
    verb: MachineVerb,
    options: { readonly unfreezeAfterMs?: number; readonly signal?: AbortSignal } = {},
  ): Promise<void> {
    const { unfreezeAfterMs, signal } = options;
    const body = unfreezeAfterMs === undefined ? {} : { unfreezeTimeout: `${unfreezeAfterMs}ms` };
    const path = pathOf(ref, verb);
    await this.#requests.bytes({ method: "PUT", path, body, signal }, MAX_ONE_BYTES);
  }

  async resize(ref: MachineRef, size: MachineSize, signal?: AbortSignal): Promise<void> {
    const { cpus, memoryBytes } = size;
    const asked = {
      method: "PUT",
      path: pathOf(ref, "resize"),
      body: { cpus, memoryBytes },
    } as const;
    await this.#requests.bytes({ ...asked, signal, ms: RESIZE_MS }, MAX_ONE_BYTES);
  }

  guestOsInfo(ref: MachineRef, signal?: AbortSignal): Promise<GuestOsInfo> {
    return this.#get({ path: pathOf(ref, "guestosinfo") }, guestOsInfoSchema, signal);
  }

  userList(ref: MachineRef, signal?: AbortSignal): Promise<GuestUserList> {
    return this.#get({ path: pathOf(ref, "userlist") }, userListSchema, signal);
  }

  filesystemList(ref: MachineRef, signal?: AbortSignal): Promise<GuestFileSystemList> {
    return this.#get({ path: pathOf(ref, "filesystemlist") }, fileSystemListSchema, signal);
  }

  screenshot(ref: MachineRef, signal?: AbortSignal): Promise<Uint8Array> {
    const path = pathOf(ref, "screenshot");
    return this.#requests.bytes({ method: "GET", path, signal }, MAX_PICTURE_BYTES);
  }

  console(ref: MachineRef, options: StreamOptions = {}): Promise<Duplex> {
    return this.#session(ref, "console", options);
  }

  vnc(ref: MachineRef, options: StreamOptions = {}): Promise<Duplex> {
    return this.#session(ref, "vnc", options);
  }

  portForward(
    ref: MachineRef,
    { port, protocol }: { readonly port: number; readonly protocol: "tcp" | "udp" },
    signal?: AbortSignal,
  ): Promise<Duplex> {
    return this.#requests.stream(pathOf(ref, `portforward/${port}/${protocol}`), signal);
  }

  async metrics(signal?: AbortSignal): Promise<string> {
    const asked = { method: "GET", path: "/v1/metrics", signal } as const;
    return (await this.#requests.bytes(asked, MAX_METRICS_BYTES)).toString();
  }

  async imports(signal?: AbortSignal): Promise<readonly ImportReport[]> {
    const asked = { path: "/v1/imports", max: MAX_LIST_BYTES };
    return (await this.#get(asked, importsSchema, signal)).items;
  }

  upload(ref: MachineRef, container: string, signal?: AbortSignal): Promise<Duplex> {
    const names = [ref.namespace, ref.pod, container].map(encodeURIComponent).join("/");
    const uid = encodeURIComponent(ref.uid);
    return this.#requests.stream(`/v1/imports/${names}?uid=${uid}`, signal);
  }

  close(): void {
    this.#requests.close();
  }

  /** A console or display is over as a whole; only a connection of the guest's has two ends. */
  async #session(ref: MachineRef, name: string, options: StreamOptions): Promise<Duplex> {
    const path = pathOf(ref, name, { preserveSession: String(options.preserveSession ?? false) });
    const stream = await this.#requests.stream(path, options.signal);
    stream.on("end", () => stream.end());
    return stream;
  }

  async #get<T>(
    { path, max = MAX_ONE_BYTES }: { readonly path: string; readonly max?: number },
    schema: v.GenericSchema<unknown, T>,
    signal: AbortSignal | undefined,
  ): Promise<T> {
    const bytes = await this.#requests.bytes({ method: "GET", path, signal }, max);
    return parseAs(schema, bytes, `node ${this.#node}: answer to ${path.split("?", 1)[0] ?? ""}`);
  }
}

function pathOf(ref: MachineRef, rest?: string, query: Record<string, string> = {}): string {
  const names = [ref.namespace, ref.pod].map(encodeURIComponent).join("/");
  const search = new URLSearchParams({ uid: ref.uid, ...query });
  return `/v1/machines/${names}${rest === undefined ? "" : `/${rest}`}?${search.toString()}`;
}

/** Kind `malformed` for what is no JSON of that shape. */
function parseAs<T>(schema: v.GenericSchema<unknown, T>, bytes: Buffer, what: string): T {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new TrineError("malformed", `${what}: not JSON`, { cause });
  }
  const result = v.safeParse(schema, value, { abortEarly: true });
  if (result.success) return result.output;
  throw new TrineError("malformed", `${what}: ${v.summarize(result.issues).slice(0, 300)}`);
}
