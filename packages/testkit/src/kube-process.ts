import { type ChildProcess, spawn } from "node:child_process";
import { open, readFile } from "node:fs/promises";
import { TrineError, pollUntil } from "@trine/base";
import { signal } from "./processes.ts";

/** A daemon of the test's with its log in a file; ends with the test's process. */
export class LoggedProcess {
  readonly name: string;
  readonly #command: readonly string[];
  readonly #log: string;
  #child: ChildProcess | undefined;

  constructor(name: string, command: readonly string[], log: string) {
    this.name = name;
    this.#command = command;
    this.#log = log;
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  async start(): Promise<void> {
    await using log = await open(this.#log, "a");
    this.#child = spawn("setpriv", ["--pdeathsig", "KILL", ...this.#command], {
      stdio: ["ignore", log.fd, log.fd],
    });
  }

  /** Polls `isReady` until it answers true; kind `internal` with the log's end when the program ended first. */
  async untilReady(isReady: () => Promise<boolean>, ms = 120_000): Promise<void> {
    await pollUntil(`${this.name} is ready`, { ms, everyMs: 100 }, async () => {
      if (this.#hasEnded()) {
        throw new TrineError("internal", `${this.name} ended: ${await this.logTail()}`);
      }
      return (await isReady()) ? true : undefined;
    });
  }

  async end(name: NodeJS.Signals = "SIGTERM"): Promise<void> {
    const pid = this.pid;
    if (pid === undefined || this.#hasEnded()) return;
    signal(pid, name);
    const overdue = setTimeout(() => {
      signal(pid, "SIGKILL");
    }, 10_000);
    await pollUntil(`${this.name} ends`, { ms: 20_000 }, () => this.#hasEnded() || undefined);
    clearTimeout(overdue);
  }

  async logTail(lines = 20): Promise<string> {
    const text = await readFile(this.#log, "utf8");
    return text.trim().split("\n").slice(-lines).join("\n");
  }

  #hasEnded(): boolean {
    return this.#child?.exitCode !== null || this.#child.signalCode !== null;
  }
}
