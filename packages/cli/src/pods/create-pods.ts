import { readFile, stat } from "node:fs/promises";
import { isDeepStrictEqual } from "node:util";
import { buffer } from "node:stream/consumers";
import { TrineError, errnoOf, kindOf, messageOf } from "@trine/base";
import { parseManifest } from "@trine/pod-spec";
import type { Claims, Manifest, Pod, Sources } from "@trine/pod-spec";
import type { CriClient } from "@trine/containerd-client";
import { startInBackground } from "./background.ts";
import { withCri } from "../connect.ts";
import { EXIT_CODES } from "../io.ts";
import type { Io } from "../io.ts";
import { launchPod } from "./launch-pod.ts";
import { Notes } from "./notes.ts";
import { readNodeFacts } from "./node-facts.ts";
import { PodRecords, nameOf, recordSources } from "./pod-records.ts";
import type { PodRecord } from "./pod-records.ts";
import { listPodViews } from "./pod-view.ts";
import { removeCompletely } from "./remove-pod.ts";
import { waitFor } from "./wait-for.ts";
import { Progress } from "../output/progress.ts";
import type { ProgressForm } from "../output/progress.ts";
import { reportError } from "../output/report-error.ts";

const MAX_FILE_BYTES = 8 * 1024 * 1024;
const WATCH_REMOVAL_MS = 200;
/** One that is about to end is waited for; of a long one a person is told. */
const OTHER_START_S = 10;

export interface CreateFlags {
  readonly pvc: Claims;
  readonly cgroupParent: string;
  readonly timeout?: number;
  readonly wait: boolean;
  /** Until when; `running` where nobody says. */
  readonly for?: "running" | "exited";
  readonly progress: ProgressForm;
}

/** `trine apply -f FILE`: starts what is not there yet; each pod has its own line. */
export async function applyFiles(
  io: Io,
  flags: CreateFlags & { readonly filename: readonly string[]; readonly dryRun: boolean },
): Promise<number> {
  requireWait(flags);
  const manifests: Manifest[] = [];
  // All of it is checked before any of it is started.
  for (const file of flags.filename) manifests.push(parseManifest(await textOf(io, file), file));
  const given = manifests.flatMap(({ pods, sources }) => pods.map((pod) => ({ pod, sources })));
  if (flags.dryRun) {
    for (const { pod } of given) io.stdout.write(`${nameOf(pod)} would be started\n`);
    return 0;
  }
  let code = 0;
  await withCri(io, async (cri) => {
    for (const { pod, sources } of given) {
      try {
        const done = await applyOne(io, cri, { pod, sources, flags });
        io.stdout.write(
          `${nameOf(pod)} ${done === "started" && !flags.wait ? "starting" : done}\n`,
        );
        if (done === "started") noteRestarts(io, pod);
      } catch (cause) {
        if (io.signal.aborted || kindOf(cause) === "unavailable") throw cause;
        await reportError(io, cause);
        code ||= EXIT_CODES[kindOf(cause)];
      }
    }
  });
  return code;
}

interface Wanted {
  readonly pod: Pod;
  readonly sources: Sources;
  readonly flags: CreateFlags;
}

async function applyOne(io: Io, cri: CriClient, wanted: Wanted): Promise<"started" | "unchanged"> {
  const { pod, sources, flags } = wanted;
  const records = new PodRecords(io);
  const before = (await records.list()).find((record) => nameOf(record.pod) === nameOf(pod));
  if (before?.removing === true) {
    const what = `\`trine rm ${nameOf(pod)}\` was not finished`;
    throw new TrineError("conflict", `pod ${nameOf(pod)} is to go: ${what}: repeat it`);
  }
  if (before !== undefined) {
    const next = { pod, ...recordSources(pod, sources), claims: flags.pvc };
    const { configMaps, secrets, claims } = before;
    if (same(next, { pod: before.pod, configMaps, secrets, claims })) return "unchanged";
    const advice = `\`trine rm ${nameOf(pod)}\` first: a pod cannot change while it exists`;
    throw new TrineError(
      "conflict",
      `pod ${nameOf(pod)} exists and is not as the file says: ${advice}`,
    );
  }
  await createPod(io, cri, wanted);
  return "started";
}

/** Makes and starts a pod; a failure or ^C leaves nothing of it. */
export async function createPod(io: Io, cri: CriClient, wanted: Wanted): Promise<PodRecord> {
  const { pod, sources, flags } = wanted;
  await requireFree(cri, pod, io.signal);
  const records = new PodRecords(io);
  const record = await records.create({
    pod,
    ...recordSources(pod, sources),
    claims: flags.pvc,
    cgroupParent: flags.cgroupParent,
  });
  await launchWatched(io, cri, record, flags, "remove");
  return record;
}

type WaitedFlags = Pick<CreateFlags, "timeout" | "wait" | "for" | "progress">;

/** Kind `invalid` for flags that ask to wait and not to. */
export function requireWait(flags: Pick<CreateFlags, "wait" | "for">): void {
  if (flags.wait || flags.for !== "exited") return;
  throw new TrineError("invalid", "--wait=false and --for exclude each other");
}

/** Runs the start of a pod under the user's eyes: progress, ^C, --timeout, --wait=false. */
export async function launchWatched(
  io: Io,
  cri: CriClient,
  record: PodRecord,
  flags: WaitedFlags,
  onFailure: "remove" | "keep",
): Promise<void> {
  const name = nameOf(record.pod);
  const limit = flags.timeout === undefined ? undefined : AbortSignal.timeout(flags.timeout);
  if (!flags.wait) {
    await startInBackground(name, flags.timeout);
    return;
  }
  const records = new PodRecords(io);
  // Two that start one pod would make two sandboxes.
  const { signal } = io;
  await records.alone(record.uid, { waitS: OTHER_START_S, signal }, async () => {
    await records.requireKept(record.uid);
    await launchAlone(io, cri, { record, records, flags, onFailure });
  });
  if (flags.for !== "exited") return;
  // It runs: whoever gives up waiting leaves it as it is.
  const progress = new Progress(io, flags.progress);
  try {
    await waitFor(io, cri, { name, record }, { for: flags.for, limit, progress });
  } finally {
    progress.end();
  }
}

interface Watched {
  readonly record: PodRecord;
  readonly records: PodRecords;
  readonly flags: Pick<CreateFlags, "timeout" | "progress">;
  readonly onFailure: "remove" | "keep";
}

async function launchAlone(io: Io, cri: CriClient, watched: Watched): Promise<void> {
  const { record, records, flags, onFailure } = watched;
  const name = nameOf(record.pod);
  const progress = new Progress(io, flags.progress);
  const limit = flags.timeout === undefined ? [] : [AbortSignal.timeout(flags.timeout)];
  using removal = watchRemoval(records, record.uid);
  const signal = AbortSignal.any([io.signal, removal.signal, ...limit]);
  try {
    const node = await readNodeFacts();
    const step = (text: string): void => {
      progress.step(name, text);
    };
    const present = (await listPodViews(cri, io.signal)).find(({ uid }) => uid === record.uid);
    const failure = await launchPod({ cri, records, node, signal, step }, record, present);
    if (failure === undefined) {
      await records.setFailure(record.uid, undefined);
      return;
    }
    const { container, exitCode, reason } = failure;
    const what = `pod ${name}: init container ${container} failed (${reason}, exit code ${exitCode})`;
    // What is there of it is what its owner wants to look at.
    throw new TrineError("wrongState", `${what}: \`trine logs ${name} -c ${container}\``);
  } catch (failed) {
    const late = limit[0]?.aborted === true && !io.signal.aborted;
    const cause = late ? tooLate(name, progress.last, failed) : failed;
    const keeps = late || onFailure === "keep" || kindOf(cause) === "wrongState";
    await withAll(cause, [
      ...(io.signal.aborted ? [] : [() => noteFailure(io, records, record, cause)]),
      ...(keeps ? [] : [() => removeCompletely(cri, records, record)]),
    ]);
    throw cause;
  } finally {
    progress.end();
  }
}

/** Aborts, with kind `notFound`, once another process has said that the pod is to go. */
function watchRemoval(records: PodRecords, uid: string): Disposable & { signal: AbortSignal } {
  const controller = new AbortController();
  const timer = setInterval(() => {
    records.requireKept(uid).catch((cause: unknown) => {
      controller.abort(cause);
    });
  }, WATCH_REMOVAL_MS);
  return {
    signal: controller.signal,
    [Symbol.dispose]() {
      clearInterval(timer);
    },
  };
}

/** Does each, also when the one before fails; what failed is told along with the cause. */
export async function withAll(
  cause: unknown,
  steps: readonly (() => Promise<void>)[],
): Promise<void> {
  const failed: string[] = [];
  for (const step of steps) await step().catch((next: unknown) => failed.push(messageOf(next)));
  if (failed.length === 0) return;
  const what = [messageOf(cause), ...failed].join("; and after that: ");
  throw new TrineError(kindOf(cause), what, { cause });
}

function tooLate(name: string, step: string, cause: unknown): TrineError {
  const what = `pod ${name} is not running yet (${step})`;
  return new TrineError("timeout", `${what}: \`trine start ${name}\` goes on with it`, { cause });
}

/** For `why` and `events`: whoever started it in the background sees no other sign of it. */
async function noteFailure(
  io: Io,
  records: PodRecords,
  { uid, pod }: PodRecord,
  cause: unknown,
): Promise<void> {
  const message = messageOf(cause);
  await records.setFailure(uid, message);
  const { namespace, name } = pod.metadata;
  await new Notes(io).add({ type: "StartFailed", namespace, pod: name, message });
}

/** Nobody restarts what ends: a person is told so, once, where it was asked for. */
function noteRestarts(io: Io, { metadata, spec }: Pod): void {
  if (spec.restartPolicy === "Never") return;
  const what = `restartPolicy ${spec.restartPolicy} needs kubelet: what ends stays ended`;
  io.stderr.write(`${metadata.name}: ${what} until \`trine start ${metadata.name}\`\n`);
}

async function requireFree(cri: CriClient, pod: Pod, signal: AbortSignal): Promise<void> {
  const views = await listPodViews(cri, signal);
  const taken = views.some((view) => `${view.namespace}/${view.name}` === nameOf(pod));
  if (!taken) return;
  const what = `pod ${nameOf(pod)} exists: \`trine rm ${nameOf(pod)}\` removes it`;
  throw new TrineError("alreadyExists", what);
}

/** Both as JSON keep them: undefined and absent are one. */
function same(a: unknown, b: unknown): boolean {
  return isDeepStrictEqual(JSON.parse(JSON.stringify(a)), JSON.parse(JSON.stringify(b)));
}

async function textOf(io: Io, file: string): Promise<string> {
  if (file === "-") return (await buffer(io.stdin)).toString("utf8");
  try {
    const { size } = await stat(file);
    if (size > MAX_FILE_BYTES) {
      throw new TrineError("invalid", `${file}: more than ${MAX_FILE_BYTES} bytes`);
    }
    return await readFile(file, "utf8");
  } catch (cause) {
    if (errnoOf(cause) !== "ENOENT") throw cause;
    throw new TrineError("notFound", `${file} does not exist`, { cause });
  }
}
