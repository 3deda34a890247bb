import { EXIT_CODES } from "./io.ts";
import { runTrine } from "./program.ts";

const DEFAULT_STATE_DIR = "/run/trine";
const DEFAULT_DATA_DIR = "/var/lib/trine/by-hand";
const DEFAULT_CONTAINERD = "/run/containerd/containerd.sock";
/** As a shell reports a program that SIGPIPE ended. */
const READER_LEFT = 141;
/** As it reports one that SIGTERM ended. */
const TERMINATED = 143;

// `trine ps | head -1`: the reader is content.
process.stdout.on("error", (cause: NodeJS.ErrnoException) => {
  if (cause.code === "EPIPE") process.exit(READER_LEFT);
  throw cause;
});
const abort = new AbortController();
const over = new AbortController();
// A second signal ends the program whatever it does.
process.once("SIGINT", () => {
  abort.abort();
});
// What was begun is undone, and the terminal is as it was.
for (const signal of ["SIGTERM", "SIGHUP"] as const) {
  process.once(signal, () => {
    over.abort();
    abort.abort();
  });
}

async function main(): Promise<void> {
  const code = await runTrine(process.argv.slice(2), {
    // Made when it is read from: most commands never do.
    get stdin() {
      return process.stdin;
    },
    stdout: process.stdout,
    stderr: process.stderr,
    stateDir: process.env["TRINE_STATE"] ?? DEFAULT_STATE_DIR,
    dataDir: process.env["TRINE_DATA"] ?? DEFAULT_DATA_DIR,
    containerd: process.env["TRINE_CONTAINERD"] ?? DEFAULT_CONTAINERD,
    signal: abort.signal,
  });
  process.exitCode = over.signal.aborted && code === EXIT_CODES.canceled ? TERMINATED : code;
}

// Bundled as CommonJS, which has no await here. A bug ends the program as any that nobody catches.
void main();
