import { expect, test } from "vitest";
import {
  SerialQueue,
  TrineError,
  Undo,
  abortable,
  kindOf,
  pollUntil,
  withDeadline,
} from "./index.ts";

test("keeps the kind of the cause and says what was being done", () => {
  const error = TrineError.during("stop machine m1", new TrineError("notFound", "no such machine"));
  expect(error.kind).toBe("notFound");
  expect(error.message).toBe("stop machine m1: no such machine");
});

test("takes an abort for canceled and anything unplanned for internal", () => {
  expect(kindOf(new DOMException("x", "AbortError"))).toBe("canceled");
  expect(kindOf("text")).toBe("internal");
});

test("runs queued tasks in order, also after a failed one", async () => {
  const queue = new SerialQueue();
  const seen: number[] = [];
  const failed = queue.run(() => Promise.reject(new Error("first")));
  const second = queue.run(() => Promise.resolve(seen.push(2)));
  const third = queue.run(() => Promise.resolve(seen.push(3)));
  await expect(failed).rejects.toThrow("first");
  await Promise.all([second, third]);
  expect(seen).toEqual([2, 3]);
  expect(queue.size).toBe(0);
});

test("undoes in reverse order and reports what failed", async () => {
  const undo = new Undo();
  const seen: string[] = [];
  undo.defer("a", () => Promise.resolve(seen.push("a")));
  undo.defer("b", () => Promise.reject(new Error("no")));
  undo.defer("c", () => Promise.resolve(seen.push("c")));
  const failed = await undo.run();
  expect(seen).toEqual(["c", "a"]);
  expect(failed.map((f) => f.what)).toEqual(["b"]);
});

test("a deadline ends a wait with kind timeout", async () => {
  const never = new Promise<never>(() => undefined);
  await expect(withDeadline("wait", 5, never)).rejects.toMatchObject({ kind: "timeout" });
  await expect(pollUntil("poll", { ms: 5, everyMs: 1 }, () => undefined)).rejects.toMatchObject({
    kind: "timeout",
  });
});

test("an abort ends a wait with its own kind, or canceled", async () => {
  const never = new Promise<never>(() => undefined);
  const abort = new AbortController();
  const wait = abortable("wait", abort.signal, never);
  abort.abort("left");
  await expect(wait).rejects.toMatchObject({ kind: "canceled", message: "wait: left" });
  await expect(abortable("wait", AbortSignal.timeout(1), never)).rejects.toMatchObject({
    kind: "timeout",
  });
  expect(await abortable("wait", new AbortController().signal, Promise.resolve(1))).toBe(1);
});
