import { execFile, spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { closeSync, constants, linkSync, openSync } from "node:fs";
import { createServer } from "node:net";
import type { Server, Socket } from "node:net";
import { promisify } from "node:util";
import { TrineError, pollUntil } from "@trine/base";
import { MACHINE_DIR } from "@trine/vmm";
import type {
  ByteChannel,
  PinnedThread,
  PlannedDescriptor,
  ProcessHost,
  ProcessPlan,
} from "@trine/vmm";
import { ByteStream, StreamEnd } from "@trine/vmm/testing";
import { KeptMemory } from "./kept-memory.ts";

/** Opens a tap in the network namespace it is in, as descriptor N, and becomes what is left of its arguments. */
const OPEN_TAP = `
use Fcntl; use POSIX ();
$^F = 1000; # descriptors stay open over exec
my ($fd, $name) = (shift, shift);
sysopen(my $tun, "/dev/net/tun", O_RDWR) or die "/dev/net/tun: $!";
ioctl($tun, 0x400454ca, pack("a16 S x22", $name, 0x5002)) or die "TUNSETIFF: $!"; # tap, no header, vnet header
POSIX::dup2(fileno($tun), $fd) or die "dup2: $!";
exec { $ARGV[0] } @ARGV or die "$ARGV[0]: $!";
`;

/** Makes \$1 a root of its own with the binds of \$2 (SOURCE:TARGET lines) and runs the rest in it, unprivileged. */
const JAIL = `
set -e
root=$1 binds=$2; shift 2
mount -t tmpfs none "$root"
for bind in $binds; do
  from=\${bind%%:*} to=$root\${bind#*:}
  case $from in /proc/self/*) from=/proc/$$/\${from#/proc/self/} ;; esac
  if [ -d "$from" ]; then mkdir -p "$to"; else mkdir -p "\${to%/*}"; : > "$to"; fi
  mount --rbind "$from" "$to"
done
exec chroot --userspec=64000:64000 "$root" "$@"
`;
export const JAIL_UID = 64_000;

interface Child {
  readonly process: ChildProcess;
  readonly ended: Promise<{ exitStatus: number; reason: string }>;
  readonly channels: Map<string, ByteChannel>;
  running: boolean;
  log: string;
  reason: string;
  monitorAnswered: boolean;
}

/**
 * A process host for tests: children of this process; without a jail /machine is `machineDir`, with one
 * they have the planned root and run as `JAIL_UID` (only root can do that). It
 * keeps no bytes over a restart, but is real in all else: descriptors by number, socket pairs, reasons.
 */
export class SpawnedProcessHost implements ProcessHost {
  readonly machineDir: string;
  readonly #children = new Map<string, Child>();
  /** Text of every console channel so far. */
  console = "";
  /** Stops every new child before it runs. */
  stalled = false;
  readonly #jail: string | undefined;
  readonly #memories = new Map<string, KeptMemory>();

  /** `jail`: an empty directory to make the children's root in. */
  constructor(machineDir: string, options: { jail?: string } = {}) {
    this.machineDir = machineDir;
    this.#jail = options.jail;
  }

  async spawn(plan: ProcessPlan): Promise<{ pid: number; already: boolean }> {
    const old = this.#children.get(plan.key);
    if (old !== undefined) return { pid: old.process.pid ?? 0, already: true };
    const undo: (() => void)[] = [];
    try {
      const stdio: (number | "pipe" | "ignore")[] = [];
      for (const descriptor of plan.descriptors) stdio.push(await this.#open(descriptor, undo));
      const [program, ...args] = this.#argv(plan);
      const child = spawn(program, args, { env: {}, stdio: ["ignore", "pipe", "pipe", ...stdio] });
      this.#children.set(plan.key, this.#watch(plan, child));
      if (this.stalled) child.kill("SIGSTOP");
      return { pid: child.pid ?? 0, already: false };
    } finally {
      for (const close of undo) close();
    }
  }

  signal(key: string, signal: number): Promise<void> {
    const child = this.#children.get(key);
    if (child?.running !== true) {
      return Promise.reject(new TrineError("notFound", `no process ${key} runs`));
    }
    child.process.kill(signal);
    return Promise.resolve();
  }

  /** As the shim does it, by taskset. */
  async pinThreads(key: string, threads: readonly PinnedThread[]): Promise<void> {
    for (const { id, cpus } of threads) {
      const all = id === 0 ? ["--all-tasks"] : [];
      const of = String(id === 0 ? this.pid(key) : id);
      await promisify(execFile)("taskset", [...all, "--cpu-list", "--pid", cpus.join(","), of]);
    }
  }

  channel(name: string): ByteChannel {
    for (const child of this.#children.values()) {
      const channel = child.channels.get(name);
      if (channel !== undefined) return channel;
    }
    throw new TrineError("notFound", `no channel ${name}`);
  }

  async sealMemory(name: string): Promise<{ path: string; inode: string }> {
    const memory = this.#memories.get(name);
    if (memory === undefined) throw new TrineError("notFound", `no memory ${name}`);
    return memory.seal();
  }

  logTail(key: string): Promise<string> {
    return Promise.resolve(this.#children.get(key)?.log ?? "");
  }

  /** Process id of a child. */
  pid(key: string): number {
    return this.#children.get(key)?.process.pid ?? 0;
  }

  get running(): number {
    return [...this.#children.values()].filter((child) => child.running).length;
  }

  ended(key: string): Promise<{ exitStatus: number; reason: string }> {
    const child = this.#children.get(key);
    if (child === undefined) throw new TrineError("notFound", `no process ${key}`);
    return child.ended;
  }

  /** Waits until the console has said `text`, after `from` characters. */
  async said(text: string, ms = 30_000, from = 0): Promise<void> {
    await pollUntil(
      `"${text}" on the console (${this.console.slice(-200)})`,
      { ms, everyMs: 10 },
      () => (this.console.includes(text, from) ? true : undefined),
    );
  }

  /** Waits until a child's own monitor has answered; rejects with its log when it ends instead. */
  async monitorAnswers(key: string, ms = 30_000): Promise<void> {
    await pollUntil(`monitor of ${key}`, { ms, everyMs: 10 }, () => {
      const child = this.#children.get(key);
      if (child?.running === false) throw new TrineError("internal", `${key} ended: ${child.log}`);
      return child?.monitorAnswered === true ? true : undefined;
    });
  }

  /** Kills what still runs and waits for its end. */
  async close(): Promise<void> {
    for (const child of this.#children.values()) {
      if (child.running) child.process.kill("SIGKILL");
      await child.ended;
    }
    for (const memory of this.#memories.values()) await memory.close();
  }

  #argv(plan: ProcessPlan): [string, ...string[]] {
    if (this.#jail !== undefined) return this.#jailed(plan, this.#jail);
    const argv = plan.argv.map((arg) => arg.replace(`${MACHINE_DIR}/`, `${this.machineDir}/`));
    const openers = tapOpeners(plan);
    const [program = "", ...rest] = [...openers, ...argv];
    return openers.length === 0 ? [program, ...rest] : ["unshare", "--net", program, ...rest];
  }

  #jailed(plan: ProcessPlan, root: string): [string, ...string[]] {
    const binds = [...plan.jail.binds, { source: this.machineDir, target: MACHINE_DIR }];
    const lines = binds.map(({ source, target }) => `${source}:${target}`).join("\n");
    // What is mounted under a live bind later comes in; nothing goes out.
    const apart = ["--mount", "--propagation", "slave", "--net"];
    return [
      "unshare",
      ...apart,
      ...tapOpeners(plan),
      "sh",
      "-c",
      JAIL,
      "jail",
      root,
      lines,
      ...plan.argv,
    ];
  }

  async #open(
    descriptor: PlannedDescriptor,
    undo: (() => void)[],
  ): Promise<number | "pipe" | "ignore"> {
    switch (descriptor.kind) {
      case "channel":
        return "pipe";
      case "tap":
        return "ignore"; // the child opens it, in a network namespace of its own
      case "file": {
        const mode = descriptor.writable ? constants.O_RDWR : constants.O_RDONLY;
        const fd = openSync(descriptor.path, mode | constants.O_NOFOLLOW);
        undo.push(() => {
          closeSync(fd);
        });
        return fd;
      }
      case "memory":
        return opened(await this.#memory(descriptor), undo);
      case "sealed-memory":
        return opened(descriptor.path, undo);
      case "listen":
        return listeningSocket(descriptor.path.replace(MACHINE_DIR, this.machineDir), undo);
    }
  }

  async #memory({ name, bytes }: { name: string; bytes: number }): Promise<string> {
    const memory = this.#memories.get(name) ?? (await KeptMemory.make(bytes));
    this.#memories.set(name, memory);
    return memory.path;
  }

  #watch(plan: ProcessPlan, process: ChildProcess): Child {
    const { promise, resolve } = Promise.withResolvers<{ exitStatus: number; reason: string }>();
    const channels = new Map<string, ByteChannel>();
    const child: Child = {
      process,
      ended: promise,
      channels,
      running: true,
      log: "",
      reason: "",
      monitorAnswered: false,
    };
    for (const stream of [process.stdout, process.stderr]) {
      stream?.on("data", (bytes: Buffer) => {
        child.log = (child.log + bytes.toString()).slice(-4096);
      });
    }
    for (const descriptor of plan.descriptors) {
      if (descriptor.kind !== "channel") continue;
      const socket = process.stdio[descriptor.number] as Socket;
      socket.on("error", () => undefined); // the child's end closes when it is killed
      if (descriptor.use === "monitor") followMonitor(socket, child);
      else channels.set(descriptor.name, this.#keep(socket, descriptor.use === "console"));
    }
    process.on("error", (cause) => {
      child.log += cause.message;
    });
    process.on("close", (code, signal) => {
      child.running = false;
      const rule = plan.exitRules.find(({ reason }) => reason === child.reason);
      const plain = signal === "SIGKILL" ? 137 : (code ?? 255);
      resolve({ exitStatus: rule?.exitStatus ?? plain, reason: child.reason });
    });
    return child;
  }

  #keep(socket: Socket, console: boolean): ByteChannel {
    const [incoming, outgoing] = [new ByteStream(), new ByteStream()];
    socket.on("data", (bytes: Buffer) => {
      incoming.write(bytes);
      if (console) this.console += bytes.toString("latin1");
    });
    socket.on("close", () => {
      incoming.close();
    });
    outgoing.write = (bytes): void => {
      socket.write(bytes);
    };
    return new StreamEnd(incoming, outgoing);
  }
}

function opened(path: string, undo: (() => void)[]): number {
  const fd = openSync(path, constants.O_RDWR);
  undo.push(() => {
    closeSync(fd);
  });
  return fd;
}

/** What opens each tap and then becomes the next. */
function tapOpeners(plan: ProcessPlan): string[] {
  return plan.descriptors.flatMap((each) =>
    each.kind === "tap" ? ["perl", "-e", OPEN_TAP, String(each.number), each.tap] : [],
  );
}

/**
 * A listening unix socket that only the child will have. Node removes the path of a server it closes, so
 * the socket is made under another name and linked to its own.
 */
async function listeningSocket(path: string, undo: (() => void)[]): Promise<number> {
  const server: Server & { _handle?: { fd: number } } = createServer();
  const made = `${path}.new`;
  await new Promise<void>((resolve) => server.listen(made, resolve));
  linkSync(made, path);
  undo.push(() => {
    server.close();
  });
  return server._handle?.fd ?? -1;
}

/** As the shim does: a monitor of its own, from which it notes why the machine ended. */
function followMonitor(socket: Socket, child: Child): void {
  let text = "";
  socket.write('{"execute":"qmp_capabilities"}\n');
  socket.on("data", (bytes: Buffer) => {
    const lines = (text + bytes.toString()).split("\n");
    text = lines.pop() ?? "";
    for (const line of lines) {
      const message = JSON.parse(line) as {
        event?: string;
        return?: unknown;
        data?: { reason?: string };
      };
      if (message.return !== undefined) child.monitorAnswered = true;
      if (message.event === "SHUTDOWN") child.reason = message.data?.reason ?? "";
    }
  });
}
export { BUTTON_GUEST_GREETING, buttonGuestDisk } from "./button-guest.ts";
