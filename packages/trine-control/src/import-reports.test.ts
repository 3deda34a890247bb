import { TrineError } from "@trine/base";
import type { Pod, Stored } from "@trine/kube-client";
import type { ImportReport, NodeDoor } from "@trine/node-door";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { ImportReports } from "./import-reports.ts";

const { signal } = new AbortController();
const REPORT = { uid: "p", state: "running", progress: 5 } as ImportReport;
const POD = { metadata: { uid: "p" }, spec: { nodeName: "n1" } } as unknown as Stored<Pod>;

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

/** Reports of one node; `asked` are its questions that have no answer yet. */
function world(): {
  readonly reports: ImportReports;
  readonly asked: PromiseWithResolvers<readonly ImportReport[]>[];
} {
  const asked: PromiseWithResolvers<readonly ImportReport[]>[] = [];
  const imports = (): Promise<readonly ImportReport[]> => {
    const question = Promise.withResolvers<readonly ImportReport[]>();
    asked.push(question);
    return question.promise;
  };
  const of = (): Promise<NodeDoor> => Promise.resolve({ imports } as unknown as NodeDoor);
  return { reports: new ImportReports({ of }, () => Date.now()), asked };
}

test("volumes of a node share an answer for a second", async () => {
  const { reports, asked } = world();
  const both = Promise.all([reports.of(POD, signal), reports.of(POD, signal)]);
  await vi.advanceTimersByTimeAsync(1_500);
  asked[0]?.resolve([REPORT]);
  expect(await both).toEqual([REPORT, REPORT]);
  expect(await reports.of(POD, signal)).toBe(REPORT);
  expect(asked).toHaveLength(1);
  await vi.advanceTimersByTimeAsync(1_000);
  void reports.of(POD, signal);
  await vi.advanceTimersByTimeAsync(0);
  expect(asked).toHaveLength(2);
});

test("a node that does not answer is asked once, and nobody waits for it long", async () => {
  const { reports, asked } = world();
  for (let round = 0; round < 5; round += 1) {
    const said = reports.of(POD, signal);
    await vi.advanceTimersByTimeAsync(2_000);
    expect(await said).toBeUndefined();
  }
  expect(asked).toHaveLength(1);
});

test("one that failed is left alone for half a minute", async () => {
  const { reports, asked } = world();
  const said = reports.of(POD, signal);
  await vi.advanceTimersByTimeAsync(0);
  asked[0]?.reject(new TrineError("unavailable", "no route"));
  expect(await said).toBeUndefined();
  await vi.advanceTimersByTimeAsync(29_000);
  expect(await reports.of(POD, signal)).toBeUndefined();
  expect(asked).toHaveLength(1);
  await vi.advanceTimersByTimeAsync(1_000);
  const next = reports.of(POD, signal);
  await vi.advanceTimersByTimeAsync(0);
  asked[1]?.resolve([REPORT]);
  expect(await next).toBe(REPORT);
});
