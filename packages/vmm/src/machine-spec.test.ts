import { expect, test } from "vitest";
import { bootOf, slotNames } from "./machine-spec.ts";

test("what starts the guest is read from the new form and from the one before", () => {
  expect(bootOf({ firmware: "bios" })).toEqual({ kind: "firmware", firmware: "bios" });
  expect(bootOf({ firmware: "uefi", firmwareVarsPath: "/v" })).toEqual({
    ...{ kind: "firmware", firmware: "uefi", varsPath: "/v" },
  });
  const boot = { kind: "direct", kernel: "/k", initrd: "/i", cmdline: "" } as const;
  expect(bootOf({ boot })).toBe(boot);
});

test("read-only slots come before writable ones; no slots have no names", () => {
  const names = ["slot-ro-0", "slot-ro-1", "slot-rw-0"];
  expect(slotNames({ dir: "/s", readOnly: 2, writable: 1 })).toEqual(names);
  expect(slotNames(undefined)).toEqual([]);
});
