import { expect, test } from "vitest";
import { transition } from "./machine-state.ts";

test("a machine goes from absent to running and back to absent", () => {
  expect(transition("absent", "create")).toEqual({ verdict: "accepted", to: "created" });
  expect(transition("created", "start")).toEqual({ verdict: "accepted", to: "running" });
  expect(transition("running", "stop")).toEqual({ verdict: "accepted", to: "stopping" });
  expect(transition("stopping", "exit")).toEqual({ verdict: "accepted", to: "ended" });
  expect(transition("ended", "delete")).toEqual({ verdict: "accepted", to: "absent" });
});

test("a repeated request finds the work done", () => {
  expect(transition("created", "create").verdict).toBe("already");
  expect(transition("running", "start").verdict).toBe("already");
  expect(transition("stopping", "stop").verdict).toBe("already");
  expect(transition("absent", "delete").verdict).toBe("already");
});

test("what the state does not allow is refused with the reason", () => {
  expect(transition("running", "delete")).toEqual({
    verdict: "refused",
    why: "cannot delete a machine that is running",
  });
  expect(transition("ended", "start").verdict).toBe("refused");
  expect(transition("created", "pause").verdict).toBe("refused");
});
