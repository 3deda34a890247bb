import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import type { MachineSettings } from "@trine/annotations";
import { TrineError, pollUntil } from "@trine/base";
import { passtArguments, preparePasst } from "@trine/pod-network";
import type { DnsConfig, PasstPorts } from "@trine/pod-network";
import type { EngineConfig } from "../deps.ts";
import { endChild } from "../end-child.ts";
import { findProgram } from "../find-program.ts";
import { hasPasst } from "../guest-side.ts";
import { libraryBinds } from "../library-binds.ts";
import type { PodContext } from "../pod-context.ts";
import type { MachineRecord } from "../pod-document.ts";
import { portOwners } from "../port-owners.ts";
import type { PortOwner } from "../port-owners.ts";
import type { PasstRecord } from "./passt-record.ts";

/** Key of the program at the pod's shim. */
export const PASST_KEY = "passt";
/** Where the VMM waits for it, in the machine's directory. */
export const PASST_SOCKET = "passt.sock";
const SOCKET_FD = 3;
const STARTS_MS = 20_000;
const LOG_CHARS = 1000;
/** The build for processors that have AVX2, which the plain one would become by itself. */
const FAST = ".avx2";

/**
 * What carries the machine's first interface, where the pod says passt; the ports of the pod that `trine.dev/ports` gives
 * to the machine are its. Kind `wrongState` on a node without the program.
 */
export async function machinePasst(
  { document, deps }: Pick<PodContext, "document" | "deps">,
  settings: Pick<MachineSettings, "ports" | "machine">,
  dns: DnsConfig,
): Promise<PasstRecord | undefined> {
  if (!hasPasst(document) || document.network === undefined) return undefined;
  const program = await passtProgram(deps.config);
  return { program, interface: document.network, dns, ports: portsOf(settings) };
}

function portsOf({ ports, machine }: Pick<MachineSettings, "ports" | "machine">): PasstPorts {
  const own = ports.filter(({ container }) => container === machine);
  const of = (wanted: "tcp" | "udp"): number[] =>
    own.filter(({ protocol }) => protocol === wanted).map(({ port }) => port);
  return { tcp: of("tcp"), udp: of("udp") };
}

async function passtProgram({ machines }: EngineConfig): Promise<string> {
  const found = await findProgram([machines.passt]);
  if (found !== undefined) return found;
  throw new TrineError(
    "wrongState",
    `trine.dev/network-binding: passt, and there is no ${machines.passt}: install the package passt, or use masquerade`,
  );
}

/**
 * Starts it, the VMM being there; nothing for a machine without. Repeatable. Kind `unavailable` with its own words where
 * it ends at once, and with the port's number when a container has one of its ports; it is not left running then.
 * Nothing is started after `signal`.
 */
export async function startPasst(
  pod: PodContext,
  { uid, passt: record }: Pick<MachineRecord, "uid" | "passt">,
  signal?: AbortSignal,
): Promise<void> {
  if (record === undefined) return;
  const { shim, files } = pod;
  const { children } = await shim.describe();
  if (children.some(({ key, running }) => key === PASST_KEY && running)) return;
  await endChild(shim, PASST_KEY);
  await preparePasst((argv, stdin) => shim.run(argv, stdin), uid);
  const empty = join(files.podDir, "empty");
  await mkdir(empty, { recursive: true, mode: 0o755 });
  const { program } = record;
  const fast = await findProgram([`${program}${FAST}`]);
  const inside = fast === undefined ? "/passt" : `/passt${FAST}`;
  const libraries = await libraryBinds();
  signal?.throwIfAborted();
  await shim.spawn({
    key: PASST_KEY,
    argv: [inside, ...passtArguments(record.interface, { ...record, fd: SOCKET_FD })],
    env: [],
    descriptors: [
      {
        number: SOCKET_FD,
        source: { case: "connect", value: { path: join(files.machineDir, PASST_SOCKET) } },
      },
    ],
    uid,
    gid: uid,
    jail: {
      binds: [
        { source: fast ?? program, target: inside },
        ...libraries,
        { source: "/proc/self", target: "/proc/self", writable: true },
        // Where it makes the root of its own that it shuts itself into.
        { source: empty, target: "/tmp" },
      ],
      newPid: true,
    },
    logPath: files.passtLog,
  });
  await untilServes(pod, uid, record.ports, signal);
}

/** One that has been started and cannot serve has ended when this rejects. */
async function untilServes(
  pod: PodContext,
  uid: number,
  ports: PasstPorts,
  signal?: AbortSignal,
): Promise<void> {
  try {
    await untilListens(pod, uid, ports, signal);
  } catch (cause) {
    await endChild(pod.shim, PASST_KEY);
    throw cause;
  }
}

/** It takes its ports before it serves. It goes on without those that are taken, and ends only where all are. */
async function untilListens(
  pod: PodContext,
  uid: number,
  ports: PasstPorts,
  signal?: AbortSignal,
): Promise<void> {
  const wait = { ms: STARTS_MS, everyMs: 20, ...(signal === undefined ? {} : { signal }) };
  await pollUntil("passt listens", wait, async () => {
    const owners = await portOwners(pod.facts.pid);
    if (hasPorts(owners, uid, ports)) return true;
    const { children } = await pod.shim.describe();
    if (!children.some(({ key, running }) => key === PASST_KEY && running)) {
      throw new TrineError("unavailable", `passt has ended: ${await wordsOf(pod)}`);
    }
    return undefined;
  });
}

/** Kind `unavailable` where a process of another user has one of them. */
function hasPorts(owners: readonly PortOwner[], uid: number, ports: PasstPorts): boolean {
  const wanted = (["tcp", "udp"] as const).flatMap((protocol) =>
    ports[protocol].map((port) => ({ protocol, port })),
  );
  return wanted.every(({ protocol, port }) => {
    const found = owners.filter((each) => each.protocol === protocol && each.port === port);
    if (found.some((each) => each.uid !== uid)) {
      throw new TrineError(
        "unavailable",
        `port ${port}/${protocol} is the machine's by trine.dev/ports, and another process of the pod has it: stop that, or give it the port`,
      );
    }
    return found.length > 0;
  });
}

async function wordsOf({ files }: PodContext): Promise<string> {
  const text = await readFile(files.passtLog, "utf8").catch(() => "");
  return text.trim().slice(-LOG_CHARS);
}
