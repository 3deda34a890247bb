import { setFlagsFromString } from "node:v8";
import { kindOf, messageOf } from "@trine/base";
import { pino } from "pino";
import { type Config, USAGE, connectionOf, readArguments } from "./config.ts";
import { runControl } from "./run-control.ts";
import { VERSION } from "./version.ts";

// Most of what V8 would keep is room for garbage: each object that is read is decoded once and dropped. With this it
// collects before it grows, and its young generation stays at a megabyte instead of 64.
setFlagsFromString("--optimize-for-size");

async function main(args: readonly string[]): Promise<number> {
  let config: Config | "help" | "version";
  try {
    config = readArguments(args);
  } catch (cause) {
    process.stderr.write(`trine-control: ${messageOf(cause)}\n\n${USAGE}`);
    return 2;
  }
  if (typeof config === "string") {
    process.stdout.write(config === "help" ? USAGE : `${VERSION}\n`);
    return 0;
  }
  const logger = pino({ level: config.logLevel });
  const stop = new AbortController();
  for (const name of ["SIGTERM", "SIGINT"] as const) {
    process.once(name, () => {
      logger.info({ signal: name }, "stopping");
      stop.abort();
    });
  }
  try {
    const connection = await connectionOf(config);
    await runControl({ config, connection, logger, version: VERSION }, stop.signal);
    logger.info("stopped");
    return 0;
  } catch (err) {
    logger.fatal({ err }, "cannot go on");
    return kindOf(err) === "invalid" || kindOf(err) === "notFound" ? 2 : 1;
  }
}

process.exitCode = await main(process.argv.slice(2));
