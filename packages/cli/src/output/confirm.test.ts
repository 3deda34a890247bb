import { PassThrough } from "node:stream";
import { expect, test } from "vitest";
import type { Config } from "../config/read-config.ts";
import { defaultConfig } from "../config/read-config.ts";
import type { Io } from "../io.ts";
import { placesOf } from "../testing.ts";
import { confirmed } from "./confirm.ts";

interface Asked {
  readonly answer: Promise<boolean>;
  readonly stdin: PassThrough;
  readonly shown: () => string;
  readonly abort: AbortController;
}

function ask(how: { tty?: boolean; yes?: boolean; config?: Config } = {}): Asked {
  const isTTY = how.tty ?? true;
  const stdin = Object.assign(new PassThrough(), { isTTY });
  const stderr = Object.assign(new PassThrough(), { isTTY });
  const abort = new AbortController();
  const io: Io = {
    ...placesOf("/nowhere"),
    ...{ stdin, stderr, stdout: new PassThrough(), signal: abort.signal },
    ...{ errorForm: "text", onRequest: () => undefined },
    ...(how.config && { config: how.config }),
  };
  let shown = "";
  stderr.on("data", (chunk: Buffer) => (shown += chunk.toString()));
  const answer = confirmed(io, "remove a\u001b[2J?", { yes: how.yes ?? false });
  return { answer, stdin, shown: () => shown, abort };
}

test.each([
  ["y\n", true],
  ["YES\n", true],
  ["\n", false],
  ["no\n", false],
  ["yeah\n", false],
  ["x".repeat(2000), false],
])("an answer of %j", async (typed, agrees) => {
  const { answer, stdin, shown } = ask();
  for (const key of [typed.slice(0, 1), typed.slice(1)]) if (key !== "") stdin.write(key);
  expect(await answer).toBe(agrees);
  expect(shown()).toContain("remove a?[2J? [y/N] ");
  if (!agrees) expect(shown()).toContain("nothing was removed");
});

test("the end of the terminal is no; ^C ends the question", async () => {
  const closed = ask();
  closed.stdin.end("y");
  // What was typed without Enter still is an answer, as every line editor has it.
  expect(await closed.answer).toBe(true);
  const silent = ask();
  silent.stdin.end();
  expect(await silent.answer).toBe(false);
  const broken = ask();
  broken.abort.abort();
  await expect(broken.answer).rejects.toThrow();
});

test("programs are not asked, nor who has said so before", async () => {
  const defaults = defaultConfig();
  const confirm = { name: "confirm", value: "never", origin: "TRINE_CONFIRM" } as const;
  const config = { ...defaults, settings: { ...defaults.settings, confirm } };
  for (const how of [{ tty: false }, { yes: true }, { config }]) {
    const { answer, shown } = ask(how);
    expect(await answer).toBe(true);
    expect(shown()).toBe("");
  }
});
