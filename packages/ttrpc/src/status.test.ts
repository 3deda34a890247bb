import { ERROR_KINDS, TrineError } from "@trine/base";
import { expect, test } from "vitest";
import { fromStatus, toStatus } from "./status.ts";

test("every kind comes back as itself, malformed as invalid", () => {
  for (const kind of ERROR_KINDS) {
    const status = toStatus(new TrineError(kind, "why"));
    const expected = kind === "malformed" ? "invalid" : kind;
    expect(fromStatus("call", status).kind).toBe(expected);
  }
});

test("an unplanned failure keeps its detail on this side", () => {
  expect(toStatus(new TypeError("x is not a function"))).toEqual({
    code: 13,
    message: "internal error",
  });
});

test("codes nobody has defined are internal", () => {
  expect(fromStatus("call", { code: 99, message: "" })).toMatchObject({
    kind: "internal",
    message: "call: failed with code 99",
  });
});
