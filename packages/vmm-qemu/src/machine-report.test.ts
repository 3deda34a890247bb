import { expect, test } from "vitest";
import { TrineError } from "@trine/base";
import type { QmpClient } from "@trine/qmp";
import { readReport } from "./machine-report.ts";

const signal = new AbortController().signal;

function client(answer: (query: string) => unknown): Pick<QmpClient, "execute"> {
  const execute = (query: string): Promise<unknown> =>
    new Promise((resolve) => {
      resolve(answer(query));
    });
  return { execute: execute };
}

test("a question that fails, or whose answer is too long, takes nothing from the others", async () => {
  const report = await readReport(
    client((query) => {
      if (query === "query-chardev") throw new TrineError("malformed", "no list");
      return query === "query-block" ? ["x".repeat(300_000)] : { asked: query };
    }),
    signal,
  );
  expect(report).toEqual({
    answers: {
      "query-status": { asked: "query-status" },
      "query-cpus-fast": { asked: "query-cpus-fast" },
      "query-memory-size-summary": { asked: "query-memory-size-summary" },
    },
    failures: {
      "query-block": "its answer has more than 262144 characters",
      "query-chardev": "no list",
    },
  });
});

test("without any answer it is an error", async () => {
  const silent = client(() => {
    throw new TrineError("timeout", "QMP: no answer");
  });
  await expect(readReport(silent, signal)).rejects.toMatchObject({ kind: "timeout" });
});
