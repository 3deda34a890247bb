import { readConfig } from "./config/read-config.ts";
import { EXIT_CODES } from "./io.ts";
import { runTrine } from "./program.ts";

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
  const config = await readConfig(process.env);
  const { state, data, containerd } = config.settings;
  const code = await runTrine(process.argv.slice(2), {
    // Made when it is read from: most commands never do.
    get stdin() {
      return process.stdin;
    },
    stdout: process.stdout,
    stderr: process.stderr,
    stateDir: state.value,
    dataDir: data.value,
    containerd: containerd.value,
    config,
    signal: abort.signal,
  });
  process.exitCode = over.signal.aborted && code === EXIT_CODES.canceled ? TERMINATED : code;
}

// Bundled as CommonJS, which has no await here. A bug ends the program as any that nobody catches.
void main();
