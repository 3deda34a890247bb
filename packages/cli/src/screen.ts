// A terminal that a test looks at and types into, as a person would: a tmux session. For component tests.
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { TrineError, pollUntil } from "@trine/base";

const run = promisify(execFile);

let count = 0;

export class Screen {
  readonly #socket: string;

  private constructor(socket: string) {
    this.#socket = socket;
  }

  /** `dir` holds its socket; `argv` is the shell that runs in it. */
  static async start(
    dir: string,
    argv: readonly string[],
    env: NodeJS.ProcessEnv,
  ): Promise<Screen> {
    const socket = join(dir, `tmux-${count++}`);
    const size = ["-x", "100", "-y", "30"];
    const clean = { ...env, TERM: "xterm", TMUX: undefined };
    const args = ["-S", socket, "-f", "/dev/null", "new-session", "-d", ...size, ...argv];
    // A server that is just ending under the same name takes the new one with it.
    await pollUntil("tmux starts", { ms: 30_000, everyMs: 500 }, () =>
      run("tmux", args, { env: clean }).catch(() => undefined),
    );
    return new Screen(socket);
  }

  /** Types text as it is. */
  async type(text: string): Promise<void> {
    await this.#tmux("send-keys", "-l", text);
  }

  /** Presses keys by their names: Enter, C-c, Tab, "C-]". */
  async press(...keys: readonly string[]): Promise<void> {
    await this.#tmux("send-keys", ...keys);
  }

  /** Types a line. */
  async line(text: string): Promise<void> {
    await this.type(text);
    await this.press("Enter");
  }

  async resize(columns: number, rows: number): Promise<void> {
    await this.#tmux("resize-window", "-x", String(columns), "-y", String(rows));
  }

  async clear(): Promise<void> {
    await this.#tmux("send-keys", "-R");
    await this.#tmux("clear-history");
  }

  /** What is on it, and what has scrolled away. */
  text(): Promise<string> {
    return this.#tmux("capture-pane", "-p", "-J", "-S", "-200");
  }

  async until(wanted: RegExp, ms = 60_000): Promise<string> {
    let seen = "";
    try {
      return await pollUntil(
        `the screen shows ${String(wanted)}`,
        { ms, everyMs: 100 },
        async () => {
          seen = await this.text();
          return wanted.test(seen) ? seen : undefined;
        },
      );
    } catch (cause) {
      throw TrineError.during(`screen ${JSON.stringify(seen.trimEnd())}`, cause);
    }
  }

  async end(): Promise<void> {
    await this.#tmux("kill-server");
  }

  async #tmux(...args: readonly string[]): Promise<string> {
    return (await run("tmux", ["-S", this.#socket, ...args])).stdout;
  }
}
