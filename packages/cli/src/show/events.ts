import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { TrineError, abortError, errnoOf, messageOf } from "@trine/base";
import type { CriClient } from "@trine/containerd-client";
import { withCri } from "../connect.ts";
import type { Io } from "../io.ts";
import { Notes } from "../pods/notes.ts";
import type { Note } from "../pods/notes.ts";
import { listPodViews } from "../pods/pod-view.ts";
import { machineReadable } from "../output/output.ts";
import type { Output } from "../output/output.ts";
import { csvLine, pickColumns } from "../output/print-list.ts";
import type { ListFlags } from "../output/print-list.ts";
import { printable } from "../output/table.ts";
import { writeOut } from "../output/write-out.ts";

const MAX_LINE = 64 * 1024;
const MAX_NAMES = 10_000;
/** Those that say something of a pod; containerd has more, of snapshots and content. */
const TYPES: Readonly<Record<string, string>> = {
  "/tasks/start": "Started",
  "/tasks/exit": "Exited",
  "/tasks/oom": "OutOfMemory",
  "/tasks/paused": "Paused",
  "/tasks/resumed": "Resumed",
  "/containers/create": "Created",
  "/containers/delete": "Removed",
};

/** A line of `events -o json`. */
interface EventLine {
  /** RFC 3339 */
  readonly time: string;
  /** Created, Started, Exited, OutOfMemory, Paused, Resumed, Removed, StartFailed. */
  readonly type: string;
  readonly namespace: string;
  readonly pod: string;
  /** Empty: of the sandbox. */
  readonly container: string;
  readonly id: string;
  readonly exitCode?: number;
  /** Why a start failed. */
  readonly message?: string;
}

export interface EventsFlags extends ListFlags {
  readonly timeout?: number;
  /** ms */
  readonly since?: number;
}

/**
 * `trine events`: what happens to pods from now on, until ^C or --timeout; `-o json` one object a line. With
 * --since failed starts of that time come first: containerd keeps no events.
 */
export function followEvents(io: Io, flags: EventsFlags): Promise<void> {
  return withCri(io, async (cri) => {
    const limit = flags.timeout === undefined ? undefined : AbortSignal.timeout(flags.timeout);
    const over = new AbortController();
    const signal = AbortSignal.any([io.signal, over.signal, ...(limit ? [limit] : [])]);
    const notes = new Notes(io);
    const show = await printer(io, flags);
    if (flags.since !== undefined) {
      for (const note of await notes.since(Date.now() - flags.since)) await show(ofNote(note));
    }
    const ours = (async () => {
      for await (const note of notes.follow(signal)) await show(ofNote(note));
    })();
    try {
      await Promise.race([followContainerd(io, cri, signal, show), ours]);
    } finally {
      over.abort();
      await ours;
    }
    if (io.signal.aborted) throw abortError("interrupted", io.signal);
  });
}

function ofNote({ message, ...note }: Note): EventLine {
  return { ...note, container: "", id: "", message };
}

/** Ends when the signal aborts. */
async function followContainerd(
  io: Io,
  cri: CriClient,
  signal: AbortSignal,
  show: (event: EventLine) => Promise<void>,
): Promise<void> {
  const names = new Names(cri);
  await names.refresh();
  const args = ["--address", io.containerd, "--namespace", "k8s.io", "events"];
  const child = spawn("ctr", args, { stdio: ["ignore", "pipe", "pipe"], signal });
  let words = "";
  child.stderr.on("data", (chunk: Buffer) => (words = (words + chunk.toString()).slice(-2000)));
  const ended = new Promise<Error | undefined>((resolve) => {
    child.on("error", resolve);
    child.on("close", () => {
      resolve(undefined);
    });
  });
  for await (const line of createInterface({ input: child.stdout })) {
    const event = line.length > MAX_LINE ? undefined : await toEvent(line, names);
    if (event !== undefined) await show(event);
  }
  const cause = await ended;
  if (signal.aborted) return;
  const missing = errnoOf(cause) === "ENOENT" ? "containerd's `ctr` is not in PATH" : undefined;
  const why = missing ?? (cause === undefined ? words.trim() || "it ended" : messageOf(cause));
  throw new TrineError("unavailable", `containerd's events: ${why}`, { cause });
}

/** `2026-11-21 13:05:59.1 +0000 UTC k8s.io /tasks/exit {json}` */
export function parseEventLine(
  line: string,
): { time: string; type: string; fields: Readonly<Record<string, unknown>> } | undefined {
  const match = /^(\S+ \S+) \S+ \S+ \S+ (\/\S+) (\{.*\})$/.exec(line);
  const [, time = "", topic = "", json = ""] = match ?? [];
  const type = Object.hasOwn(TYPES, topic) ? TYPES[topic] : undefined;
  if (type === undefined) return undefined;
  try {
    const fields = JSON.parse(json) as Readonly<Record<string, unknown>>;
    return { time: `${time.replace(" ", "T")}Z`, type, fields };
  } catch {
    return undefined; // ctr prints what it cannot decode in another form
  }
}

async function toEvent(line: string, names: Names): Promise<EventLine | undefined> {
  const parsed = parseEventLine(line);
  if (parsed === undefined) return undefined;
  const { time, type, fields } = parsed;
  const id = text(fields["container_id"] ?? fields["id"]);
  // An exec's end is no container's.
  const process = fields["id"];
  if (type === "Exited" && process !== undefined && process !== id) return undefined;
  const known = await names.of(id);
  const status = fields["exit_status"];
  const code = type === "Exited" ? { exitCode: typeof status === "number" ? status : 0 } : {};
  return { time, type, ...known, id, ...code };
}

const HEADER = [
  ...["TIME", "TYPE", "NAMESPACE", "POD", "CONTAINER", "CODE", "MESSAGE", "ID"],
] as const;

/** Each event as it comes: a line, or a document. */
async function printer(io: Io, flags: EventsFlags): Promise<(event: EventLine) => Promise<void>> {
  const { output, columns } = flags;
  const isCsv = output.form === "csv";
  const chosen = pickColumns(columns, HEADER);
  if (flags.headers && isCsv)
    await writeOut(io.stdout, csvLine(chosen.map((at) => HEADER[at] ?? "")));
  return async (event) => {
    const cells = [
      ...[event.time, event.type, event.namespace, event.pod, event.container],
      ...[
        event.exitCode === undefined ? "" : String(event.exitCode),
        event.message ?? "",
        event.id,
      ],
    ];
    const picked = chosen.map((at) => cells[at] ?? "");
    const text = isCsv
      ? csvLine(picked)
      : columns !== undefined && (output.form === "table" || output.form === "wide")
        ? `${printable(picked.map((cell) => cell || "-").join("  "))}\n`
        : await render(event, output);
    await writeOut(io.stdout, text);
  };
}

async function render(event: EventLine, output: Output): Promise<string> {
  const pod = event.pod === "" ? event.id.slice(0, 12) : `${event.namespace}/${event.pod}`;
  if (output.form === "json") return `${JSON.stringify(event)}\n`;
  if (output.form === "name") return `${printable(pod)}\n`;
  const document = await machineReadable(output, event);
  if (document !== undefined) return output.form === "yaml" ? `---\n${document}` : document;
  const what = event.container === "" ? pod : `${pod}/${event.container}`;
  const code = event.exitCode === undefined ? "" : ` exit code ${event.exitCode}`;
  const why = event.message === undefined ? "" : `: ${event.message}`;
  const id = output.form === "wide" ? `  ${event.id}` : "";
  return `${printable(`${event.time}  ${event.type.padEnd(11)}  ${what}${code}${why}${id}`)}\n`;
}

function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}

interface Name {
  readonly namespace: string;
  readonly pod: string;
  readonly container: string;
}

const UNKNOWN: Name = { namespace: "", pod: "", container: "" };

/** Container id → pod; what was removed is still remembered. */
class Names {
  readonly #cri: CriClient;
  readonly #known = new Map<string, Name>();

  constructor(cri: CriClient) {
    this.#cri = cri;
  }

  async refresh(): Promise<void> {
    if (this.#known.size > MAX_NAMES) this.#known.clear();
    for (const view of await listPodViews(this.#cri, new AbortController().signal)) {
      const { namespace, name: pod } = view;
      for (const id of [view.sandboxId, ...view.olderSandboxes]) {
        this.#known.set(id, { namespace, pod, container: "" });
      }
      for (const { id, name } of view.containers) {
        this.#known.set(id, { namespace, pod, container: name });
      }
    }
  }

  async of(id: string): Promise<Name> {
    if (!this.#known.has(id)) await this.refresh();
    return this.#known.get(id) ?? UNKNOWN;
  }
}
