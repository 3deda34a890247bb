import { hostname } from "node:os";
import { expect, test } from "vitest";
import { guestHostname } from "./guest-hostname.ts";

const POD = { hostname: undefined, isPodSandbox: true };
const ALONE = { hostname: undefined, isPodSandbox: false };

test("a pod's own name for its host stays as it is", () => {
  expect(guestHostname({ ...POD, hostname: "web-0" }, "main")).toBe("web-0");
});

test("a pod that names none has the node's, however long its own name is", () => {
  expect(guestHostname(POD, "x".repeat(253))).toBe(hostname());
});

test.each([
  ["web", "web"],
  ["a/b c", "a-b-c"],
  [`${"x".repeat(62)}-${"y".repeat(9)}`, "x".repeat(62)],
  ["---", "container"],
])("a container without a pod, %j, is called %j", (name, wanted) => {
  expect(guestHostname(ALONE, name)).toBe(wanted);
});
