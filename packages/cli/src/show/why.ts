import type { RouteSummary } from "@trine/node-api";
import { withCri } from "../connect.ts";
import { readLog } from "./cri-log.ts";
import type { Io } from "../io.ts";
import { PodRecords, nameOf } from "../pods/pod-records.ts";
import type { PodRecord } from "../pods/pod-records.ts";
import { listPodViews } from "../pods/pod-view.ts";
import type { ContainerView, PodView } from "../pods/pod-view.ts";
import { explainHidden, hiddenPod, podOf, routeOf, routeText, routesOf } from "./pod-route.ts";
import type { ShownRoute } from "./pod-route.ts";
import { requireTargets } from "../pods/select-pods.ts";
import { nameOfView, selectNames, targetOf } from "../pods/target.ts";
import { asList, printList } from "../output/print-list.ts";
import type { List, ListFlags } from "../output/print-list.ts";
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

export interface WhyFlags extends ListFlags {
  readonly selector?: string;
}

/** A pod with what keeps it from running; no reasons: it runs. */
interface Explained {
  /** NAMESPACE/NAME */
  readonly pod: string;
  readonly reasons: readonly Reason[];
  /** On nodes with a CRI gateway. */
  readonly route?: ShownRoute;
}

/** What `why` shows as JSON: a list unless one pod was named. */
type WhyDocument = Explained | List<Explained>;

interface Answer extends Explained {
  readonly view?: PodView;
}

/** `trine why POD...`: exit code 0 when they run, 1 with the reasons when one does not. */
export function explainPods(io: Io, names: readonly string[], flags: WhyFlags): Promise<number> {
  requireTargets(names, flags.selector);
  return withCri(io, async (cri) => {
    const records = await new PodRecords(io).list();
    const views = await listPodViews(cri, io.signal);
    const targets =
      flags.selector === undefined ? names : selectNames(views, records, flags.selector);
    const routes = await routesOf(io);
    const answers = [...new Set(targets)].map((name) =>
      answerFor(io, name, { views, records, routes }),
    );
    const human = flags.output.form === "table" || flags.output.form === "wide";
    if (human && flags.columns === undefined) for (const answer of answers) await say(io, answer);
    else await printAnswers(io, flags, answers);
    return answers.some(({ reasons }) => reasons.length > 0) ? 1 : 0;
  });
}

interface Facts {
  readonly views: readonly PodView[];
  readonly records: readonly PodRecord[];
  readonly routes: readonly RouteSummary[];
}

function answerFor(io: Io, name: string, { views, records, routes }: Facts): Answer {
  const hidden = hiddenPod(name, views, routes);
  if (hidden !== undefined && !records.some(({ pod }) => nameOf(pod) === podOf(hidden))) {
    return { pod: podOf(hidden), reasons: [explainHidden(hidden, io.containerd)] };
  }
  const { view, record } = targetOf(views, records, name);
  const pod = record === undefined ? nameOfView(view) : nameOf(record.pod);
  const reasons = view === undefined ? [neverStarted(pod, record)] : reasonsOf(view, record);
  const route = routeOf(routes, view);
  return {
    ...{ pod, reasons },
    ...(route === undefined ? {} : { route }),
    ...(view === undefined ? {} : { view }),
  };
}

async function printAnswers(io: Io, flags: WhyFlags, answers: readonly Answer[]): Promise<void> {
  const items = answers.map(({ pod, reasons, route }) => ({
    ...{ pod, reasons },
    ...(route === undefined ? {} : { route }),
  }));
  const [only] = items;
  const isOne = items.length === 1 && flags.selector === undefined && only !== undefined;
  const value: WhyDocument = isOne ? only : asList(items);
  await printList(io, flags, {
    value,
    header: ["POD", "OBJECT", "CAUSE", "NEXT"],
    narrow: 4,
    rows: items.flatMap(({ pod, reasons }) =>
      reasons.map(({ object, cause, next }) => [pod, object, cause, next]),
    ),
    names: items.filter(({ reasons }) => reasons.length > 0).map(({ pod }) => pod),
  });
}

async function say(io: Io, { pod, reasons, route, view }: Answer): Promise<void> {
  if (reasons.length === 0) io.stdout.write(`${pod} runs\n`);
  if (route !== undefined) io.stdout.write(`  gateway: ${printable(routeText(route))}\n`);
  if (reasons.length === 0) return;
  for (const { object, cause, next } of reasons) {
    io.stdout.write(`${object}: ${printable(cause)}\n  next: ${next}\n`);
  }
  await showLastLines(io, view);
}

function neverStarted(name: string, record: PodRecord | undefined): Reason {
  if (record?.failure !== undefined) return failedStart(name, record.failure);
  return {
    object: `pod ${name}`,
    cause: "has no sandbox: its start is under way or was interrupted, or the node lost it",
    next: `trine start ${name}`,
  };
}

function failedStart(name: string, { time, message }: { time: string; message: string }): Reason {
  const cause = `its start failed at ${time}: ${message}`;
  return { object: `pod ${name}`, cause, next: `trine start ${name}, once that is mended` };
}

/** Pure: what keeps a pod from running. */
function reasonsOf(view: PodView, record: PodRecord | undefined): Reason[] {
  const name = `${view.namespace}/${view.name}`;
  const reasons: Reason[] = [];
  if (!view.ready && record?.failure === undefined) {
    const cause = "its sandbox is stopped: by `trine stop`, by the end of its shim or of the node";
    reasons.push({ object: `pod ${name}`, cause, next: startOf(record, name) });
  }
  if (record?.failure !== undefined) reasons.push(failedStart(name, record.failure));
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
