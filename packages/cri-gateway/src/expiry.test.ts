import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { callOff, expireIn } from "./expiry.ts";

beforeEach(() => {
  vi.useFakeTimers({
    toFake: ["setTimeout", "clearTimeout", "setInterval", "clearInterval", "performance"],
  });
});
afterEach(() => {
  vi.runAllTimers();
  vi.useRealTimers();
});

test.each([1, 999, 1_000, 1_001, 1_500, 30_000, 3_600_000])("after %d ms and not before", (ms) => {
  const then = vi.fn();
  expireIn(ms, then);
  vi.advanceTimersByTime(ms - 1);
  expect(then).not.toHaveBeenCalled();
  vi.advanceTimersByTime(2);
  expect(then).toHaveBeenCalledOnce();
});

test.each([500, 30_000])("what is called off of %d ms does not happen, far off or near", (ms) => {
  const then = vi.fn();
  const [early, late, other] = [expireIn(ms, then), expireIn(ms, then), vi.fn()];
  expireIn(ms, other);
  callOff(early);
  vi.advanceTimersByTime(ms - 100);
  callOff(late);
  callOff(late);
  vi.advanceTimersByTime(200);
  expect(then).not.toHaveBeenCalled();
  expect(other).toHaveBeenCalledOnce();
});

test("where nothing is waited for no timer is left", () => {
  callOff(expireIn(60_000, () => undefined));
  callOff(undefined);
  vi.advanceTimersByTime(1_000);
  expect(vi.getTimerCount()).toBe(0);
});
