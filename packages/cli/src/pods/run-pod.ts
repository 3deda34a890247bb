import { randomInt } from "node:crypto";
import { resolve } from "node:path";
import { Readable } from "node:stream";
import { HANDLER_MICROVM, HANDLER_VM } from "@trine/annotations";
import { TrineError, kindOf, messageOf } from "@trine/base";
import type { CriClient, RemoteCommand } from "@trine/containerd-client";
import { parseManifest } from "@trine/pod-spec";
import type { Pod } from "@trine/pod-spec";
import { withCri } from "../connect.ts";
import { createPod, requireWait } from "./create-pods.ts";
import type { CreateFlags } from "./create-pods.ts";
import { readLog } from "../show/cri-log.ts";
import { exitCodeOf, requireTerminal, runFailure } from "../talk/exec.ts";
import type { Io } from "../io.ts";
import { joinTerminal } from "../talk/join-terminal.ts";
import { withPast } from "../talk/with-past.ts";
import { hasEnded } from "../show/logs.ts";
import { PodRecords, nameOf } from "./pod-records.ts";
import type { PodRecord } from "./pod-records.ts";
import type { Level } from "./pod-view.ts";
import { removeCompletely } from "./remove-pod.ts";
import { findPod, pickContainer } from "./select-pods.ts";
import { reportError } from "../output/report-error.ts";
import { writeOut } from "../output/write-out.ts";

const HANDLER: Readonly<Record<Level, string>> = {
  container: "",
  microvm: HANDLER_MICROVM,
  vm: HANDLER_VM,
};

export interface RunFlags extends Omit<CreateFlags, "pvc"> {
  readonly name?: string;
  readonly namespace?: string;
  readonly level: Level;
  readonly runtime?: string;
  readonly stdin: boolean;
  readonly tty: boolean;
  readonly attach: boolean;
  readonly rm: boolean;
  readonly env: Readonly<Record<string, string>>;
  readonly label: Readonly<Record<string, string>>;
  readonly annotation: Readonly<Record<string, string>>;
  readonly volume: readonly VolumeFlag[];
  readonly publish: readonly PortFlag[];
  readonly memory?: string;
  readonly cpus?: string;
  readonly user?: number;
  readonly workdir?: string;
  readonly pull?: "Always" | "IfNotPresent" | "Never";
}

export interface VolumeFlag {
  readonly source: string;
  readonly target: string;
  readonly readOnly: boolean;
}

export interface PortFlag {
  readonly hostIP?: string;
  readonly hostPort: number;
  readonly containerPort: number;
  readonly protocol: string;
}

/** `trine run IMAGE [-- COMMAND]`: in the background, or with -i, -t, --attach, --rm under our eyes. */
export async function runPod(
  io: Io,
  image: string,
  cmd: readonly string[],
  flags: RunFlags,
): Promise<number> {
  const attached = flags.stdin || flags.tty || flags.attach || flags.rm;
  requireTerminal(io, flags);
  if (attached && !flags.wait) {
    throw new TrineError("invalid", "--wait=false and -i, -t, --attach, --rm exclude each other");
  }
  requireWait(flags);
  if (attached && flags.for === "exited") {
    throw new TrineError("invalid", "--for and -i, -t, --attach, --rm exclude each other");
  }
  const document = JSON.stringify(podObject(image, cmd, flags));
  const { pods, sources } = parseManifest(document, "the flags");
  const [pod] = pods as [Pod];
  return withCri(io, async (cri) => {
    const wanted = { pod, sources, flags: { ...flags, pvc: {} } };
    if (!attached) {
      await createPod(io, cri, wanted);
      io.stdout.write(`${nameOf(pod)}\n`);
      return 0;
    }
    let record: PodRecord | undefined;
    try {
      record = await createPod(io, cri, wanted);
      return await watch(io, cri, record, flags);
    } catch (cause) {
      if (io.signal.aborted || record !== undefined || !isRunFailure(cause)) throw cause;
      const words = messageOf(cause)
        .trim()
        .replaceAll(/\s*\n\s*/g, "; ");
      await reportError(io, new TrineError("internal", words, { cause }));
      return runFailure(cause);
    } finally {
      if (record !== undefined) await leave(io, cri, record, flags);
    }
  });
}

/** What the runtime says of a program that it cannot run; our own refusals keep their codes. */
function isRunFailure(cause: unknown): boolean {
  return kindOf(cause) === "internal";
}

async function leave(io: Io, cri: CriClient, record: PodRecord, flags: RunFlags): Promise<void> {
  if (flags.rm) {
    await removeCompletely(cri, new PodRecords(io), record);
  } else if (io.signal.aborted) {
    const name = nameOf(record.pod);
    io.stderr.write(`trine: pod ${name} goes on; \`trine stop ${name}\` ends it\n`);
  }
}

/** Shows the container's output and answers its exit code. */
async function watch(
  io: Io,
  cri: CriClient,
  record: PodRecord,
  { stdin, tty }: RunFlags,
): Promise<number> {
  const view = await findPod(cri, nameOf(record.pod), io.signal);
  const { id, logPath } = pickContainer(view, undefined);
  const input = stdin || tty ? await attachInput(cri, id, { stdin, tty }) : undefined;
  if (input !== undefined && tty) {
    const { stdout = Readable.from([]) } = input;
    const whole = Readable.from(withPast({ cri, id, logPath, signal: io.signal }, stdout));
    await joinTerminal(io, { ...input, stdout: whole }, { tty }).catch(async (cause: unknown) => {
      // containerd attaches to nothing that has ended meanwhile.
      if (io.signal.aborted || !(await hasEnded(cri, id))) throw cause;
    });
  } else {
    if (input?.stdin !== undefined) io.stdin.pipe(input.stdin);
    const ended = (): Promise<boolean> => hasEnded(cri, id);
    for await (const { stream, text } of readLog(logPath, { signal: io.signal, ended })) {
      await writeOut(stream === "stderr" ? io.stderr : io.stdout, text);
    }
    io.stdin.pause();
    input?.close();
  }
  const code = await exitCodeOf(cri, id, io.signal);
  if (code !== undefined) return code;
  const what = `the connection to pod ${nameOf(record.pod)} is lost, and it goes on`;
  throw new TrineError("unavailable", `${what}: \`trine attach -it ${nameOf(record.pod)}\``);
}

/** Undefined: it has ended already; its log has everything. */
async function attachInput(
  cri: CriClient,
  containerId: string,
  { stdin, tty }: { stdin: boolean; tty: boolean },
): Promise<RemoteCommand | undefined> {
  try {
    return await cri.attach({ containerId, stdin, tty, stdout: tty });
  } catch (cause) {
    if (await hasEnded(cri, containerId)) return undefined;
    throw cause;
  }
}

function podObject(image: string, cmd: readonly string[], flags: RunFlags): object {
  const { memory, cpus, user, workdir, namespace, pull } = flags;
  const handler = flags.runtime ?? HANDLER[flags.level];
  const limits = { ...(memory && { memory }), ...(cpus && { cpu: cpus }) };
  const mounts = flags.volume.map(({ target, readOnly }, index) => ({
    ...{ name: `v${index}`, mountPath: target, readOnly },
  }));
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      name: flags.name ?? nameFor(image),
      ...(namespace && { namespace }),
      labels: flags.label,
      annotations: flags.annotation,
    },
    spec: {
      restartPolicy: "Never",
      ...(handler === "" ? {} : { runtimeClassName: handler }),
      containers: [
        {
          name: "main",
          image,
          // What is typed is meant: no $(NAME) here.
          args: cmd.map((text) => text.replaceAll("$", "$$$$")),
          ...(pull && { imagePullPolicy: pull }),
          ...(workdir && { workingDir: workdir }),
          ...(user === undefined ? {} : { securityContext: { runAsUser: user } }),
          env: Object.entries(flags.env).map(([name, value]) => ({
            name,
            value: value.replaceAll("$", "$$$$"),
          })),
          resources: { limits },
          volumeMounts: mounts,
          ports: flags.publish,
          stdin: flags.stdin,
          stdinOnce: flags.stdin,
          tty: flags.tty,
        },
      ],
      volumes: flags.volume.map(({ source }, index) => ({
        ...{ name: `v${index}`, hostPath: { path: resolve(source) } },
      })),
    },
  };
}

/** `registry/team/Web_App:1` → `web-app-x4k2p` */
function nameFor(image: string): string {
  const last =
    image
      .replace(/@.*$/, "")
      .replace(/:[^/:]*$/, "")
      .split("/")
      .at(-1) ?? "";
  const base = last
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, "-")
    .replaceAll(/^-+|-+$/g, "");
  const letters = "bcdfghjklmnpqrstvwxz2456789";
  const tail = Array.from({ length: 5 }, () => letters[randomInt(letters.length)]).join("");
  return `${base.slice(0, 40) || "pod"}-${tail}`;
}
