import { readFile } from "node:fs/promises";
import { messageOf, sleep } from "@trine/base";
import type { DoorCredentials } from "@trine/node-door";
import type { Logger } from "pino";

const CHECK_MS = 60_000;

/** Paths. */
export interface GivenCredentials {
  readonly certificate: string;
  readonly key: string;
  readonly authority: string;
}

/** What is in the files, and again whenever they say something else. */
export async function* givenCredentials(
  files: GivenCredentials,
  log: Logger,
  signal: AbortSignal,
): AsyncGenerator<DoorCredentials> {
  let last = "";
  while (!signal.aborted) {
    try {
      const [certificate = "", key = "", authority = ""] = await Promise.all(
        [files.certificate, files.key, files.authority].map((file) => readFile(file, "utf8")),
      );
      const now = { certificate, key, authority };
      const text = JSON.stringify(now);
      if (text !== last) yield now;
      last = text;
    } catch (cause) {
      log.error({ err: messageOf(cause) }, "door: its certificate");
    }
    await sleep(CHECK_MS, signal).catch(() => undefined); // the loop's head sees it
  }
}
