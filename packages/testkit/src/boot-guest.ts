import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { type Socket, connect } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { pollUntil, withDeadline } from "@trine/base";
import { exists } from "./cache.ts";
import { signal } from "./processes.ts";

export interface BootGuestOptions {
  disk: string;
  /** For sockets; short. */
  dir: string;
  machine?: "q35" | "pc";
  memoryMiB?: number;
  uefi?: boolean;
  /** An ISO with a seed. */
  seed?: string;
  /** A port of 127.0.0.1 that leads to the guest's port 8080. */
  httpPort?: number;
}

/** A guest run straight by QEMU, to test the test guests themselves: nothing of Trine is in it. */
export class BootedGuest {
  readonly #child: ChildProcess;
  readonly #dir: string;
  #console = "";
  readonly events: string[] = [];

  constructor(child: ChildProcess, dir: string) {
    this.#child = child;
    this.#dir = dir;
    child.stdout?.setEncoding("utf8").on("data", (chunk: string) => (this.#console += chunk));
  }

  /** All that the serial console has said. */
  get console(): string {
    return this.#console;
  }

  /** QEMU has ended. */
  get ended(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  async until(text: string | RegExp, ms = 120_000): Promise<RegExpExecArray> {
    const words = typeof text === "string" ? text.replace(/[$()*+.?[\\\]^{|}]/g, "\\$&") : text;
    const pattern = new RegExp(words);
    return pollUntil(`console says ${String(text)}`, { ms }, () => {
      const found = pattern.exec(this.#console);
      if (!found && this.ended) throw new Error(`QEMU ended; console: ${this.#console}`);
      return found ?? undefined;
    });
  }

  untilEnd(ms = 60_000): Promise<true> {
    return pollUntil("QEMU ends", { ms }, () => (this.ended ? true : undefined));
  }

  type(text: string): void {
    this.#child.stdin?.write(text);
  }

  /** One QMP command on a connection of its own; events seen before its answer are kept. */
  async qmp(execute: string, args: object = {}): Promise<unknown> {
    const socket = await this.#connect("qmp.sock");
    const work = this.#ask(socket, [{ execute: "qmp_capabilities" }, { execute, arguments: args }]);
    return withDeadline(`QMP ${execute}`, 20_000, work).finally(() => socket.destroy());
  }

  /** One command to qemu-ga. */
  async agent(execute: string, args: object = {}): Promise<unknown> {
    const socket = await this.#connect("agent.sock");
    const work = this.#ask(socket, [{ execute, arguments: args }]);
    return withDeadline(`agent ${execute}`, 60_000, work).finally(() => socket.destroy());
  }

  async #connect(name: string): Promise<Socket> {
    const path = join(this.#dir, name);
    await pollUntil(`${name} exists`, { ms: 20_000 }, async () =>
      (await exists(path)) ? true : undefined,
    );
    const socket = connect(path);
    await once(socket, "connect");
    return socket;
  }

  /** Answer to the last command. */
  async #ask(socket: Socket, commands: readonly object[]): Promise<unknown> {
    for (const command of commands) socket.write(`${JSON.stringify(command)}\n`);
    let left = commands.length;
    for await (const line of createInterface({ input: socket })) {
      const message = JSON.parse(line) as {
        event?: string;
        return?: unknown;
        error?: { desc: string };
      };
      if (message.event !== undefined) this.events.push(message.event);
      if (message.error) throw new Error(message.error.desc);
      if ("return" in message && --left === 0) return message.return;
    }
    throw new Error("the socket was closed before the answer");
  }

  kill(): void {
    if (this.#child.pid !== undefined && !this.ended) signal(this.#child.pid, "SIGKILL");
  }
}

/** Starts QEMU (software emulation) on a throw-away overlay of the disk. */
export function bootGuest(options: BootGuestOptions): BootedGuest {
  const { dir } = options;
  const forward =
    options.httpPort === undefined ? "" : `,hostfwd=tcp:127.0.0.1:${options.httpPort}-:8080`;
  const child = spawn(
    "setpriv",
    [
      ...["--pdeathsig", "KILL", "qemu-system-x86_64", "-accel", "tcg", "-display", "none"],
      ...[
        "-nodefaults",
        "-machine",
        options.machine ?? "q35",
        "-m",
        String(options.memoryMiB ?? 256),
      ],
      ...["-serial", "stdio", "-qmp", `unix:${dir}/qmp.sock,server=on,wait=off`],
      ...(options.uefi === true ? ["-bios", "/usr/share/ovmf/OVMF.fd"] : []),
      ...["-drive", `file=${options.disk},if=virtio,snapshot=on`],
      ...(options.seed === undefined
        ? []
        : ["-drive", `file=${options.seed},if=virtio,format=raw,readonly=on`]),
      ...["-netdev", `user,id=n0${forward}`, "-device", "virtio-net-pci,netdev=n0,romfile="],
      ...["-device", "virtio-serial-pci", "-device", "virtio-rng-pci", "-device", "pvpanic-pci"],
      ...["-chardev", `socket,id=ga,path=${dir}/agent.sock,server=on,wait=off`],
      ...["-device", "virtserialport,chardev=ga,name=org.qemu.guest_agent.0"],
    ],
    { stdio: ["pipe", "pipe", "inherit"] },
  );
  return new BootedGuest(child, dir);
}
