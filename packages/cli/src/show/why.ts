import { kindOf } from "@trine/base";
import { withCri } from "../connect.ts";
import { readLog } from "./cri-log.ts";
import type { Io } from "../io.ts";
import { PodRecords, nameOf } from "../pods/pod-records.ts";
import type { PodRecord } from "../pods/pod-records.ts";
import type { ContainerView, PodView } from "../pods/pod-view.ts";
import { findPod } from "../pods/select-pods.ts";
import { printable } from "../output/table.ts";

const MAX_LINES = 5;
const SIGNALS: Readonly<Record<number, string>> = {
  130: "SIGINT",
  137: "SIGKILL",
  139: "SIGSEGV",
  143: "SIGTERM",
};

/** One finding: what, of which object, and what to do next. */
interface Reason {
  readonly object: string;
  readonly cause: string;
  readonly next: string;
}

/** `trine why POD`: exit code 0 when it runs, 1 with the reasons when it does not. */
export function explainPod(io: Io, name: string, output: "table" | "json"): Promise<number> {
  return withCri(io, async (cri) => {
    const records = new PodRecords(io);
    const record = await recordOf(records, name);
    const view = await findPod(cri, name, io.signal).catch((cause: unknown) => {
      if (kindOf(cause) === "notFound" && record !== undefined) return undefined;
      throw cause;
    });
    const full = view === undefined ? name : `${view.namespace}/${view.name}`;
    const own = record ?? (view === undefined ? undefined : await records.find(view.uid));
    const reasons = view === undefined ? [neverStarted(full)] : reasonsOf(view, own);
    if (output === "json") {
      io.stdout.write(`${JSON.stringify({ pod: full, reasons }, null, 2)}\n`);
    } else if (reasons.length === 0) {
      io.stdout.write(`${full} runs\n`);
    } else {
      for (const { object, cause, next } of reasons) {
        io.stdout.write(`${object}: ${printable(cause)}\n  next: ${next}\n`);
      }
      await showLastLines(io, view);
    }
    return reasons.length === 0 ? 0 : 1;
  });
}

function neverStarted(name: string): Reason {
  return {
    object: `pod ${name}`,
    cause: "has no sandbox: its start was interrupted, or the node lost it",
    next: `trine start ${name}`,
  };
}

/** Pure: what keeps a pod from running. */
function reasonsOf(view: PodView, record: PodRecord | undefined): Reason[] {
  const name = `${view.namespace}/${view.name}`;
  const reasons: Reason[] = [];
  if (!view.ready) {
    const cause = "its sandbox is stopped: by `trine stop`, by the end of its shim or of the node";
    reasons.push({ object: `pod ${name}`, cause, next: startOf(record, name) });
  }
  const wanted = record?.pod.spec.containers.map((container) => container.name) ?? [];
  const inits = new Set(record?.pod.spec.initContainers.map((container) => container.name));
  for (const missing of wanted.filter((each) => !view.containers.some((c) => c.name === each))) {
    const cause = "has not been made: an init container failed, or the start was interrupted";
    const object = `container ${missing} of ${name}`;
    reasons.push({ object, cause, next: startOf(record, name) });
  }
  for (const container of view.containers) {
    const isDoneInit = inits.has(container.name) && container.exitCode === 0;
    if (container.state === "running" || (container.state === "exited" && isDoneInit)) continue;
    reasons.push(reasonOf(container, name, record));
  }
  return reasons;
}

function reasonOf(container: ContainerView, pod: string, record: PodRecord | undefined): Reason {
  const object = `container ${container.name} of ${pod}`;
  if (container.state !== "exited") {
    const cause = `is ${container.state}: its start did not come to an end`;
    return { object, cause, next: startOf(record, pod) };
  }
  const logs = `trine logs ${pod} -c ${container.name}`;
  if (container.reason === "OOMKilled") {
    const cause = "was killed: it wanted more memory than its limit";
    return { object, cause, next: "raise resources.limits.memory, or --memory" };
  }
  if (container.startedAt === 0) {
    const cause = `did not start: ${container.message || container.reason}`;
    return { object, cause, next: startOf(record, pod) };
  }
  if (container.exitCode === 0) {
    const policy = record?.pod.spec.restartPolicy ?? "Never";
    const note = policy === "Always" ? "; nobody restarts it here" : "";
    return { object, cause: `has ended with exit code 0${note}`, next: startOf(record, pod) };
  }
  const signal = SIGNALS[container.exitCode];
  const by = signal === undefined ? "" : ` (${signal})`;
  return { object, cause: `has ended with exit code ${container.exitCode}${by}`, next: logs };
}

function startOf(record: PodRecord | undefined, name: string): string {
  return record === undefined
    ? `who made it starts it: trine inspect ${name}`
    : `trine start ${name}`;
}

async function recordOf(records: PodRecords, name: string): Promise<PodRecord | undefined> {
  const all = await records.list();
  return all.find(({ pod }) => pod.metadata.name === name || nameOf(pod) === name);
}

async function showLastLines(io: Io, view: PodView | undefined): Promise<void> {
  const failed = view?.containers.find((each) => each.state === "exited" && each.exitCode !== 0);
  if (failed === undefined || failed.logPath === "") return;
  const lines: string[] = [];
  for await (const { text } of readLog(failed.logPath, { signal: io.signal })) {
    lines.push(printable(text.toString("utf8").trimEnd()));
    if (lines.length > MAX_LINES) lines.shift();
  }
  if (lines.length === 0) return;
  io.stdout.write(`last lines of ${failed.name}:\n${lines.map((line) => `  ${line}\n`).join("")}`);
}
