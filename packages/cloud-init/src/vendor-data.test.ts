import { execFileSync } from "node:child_process";
import { expect, test } from "vitest";
import { vendorDataOf } from "./vendor-data.ts";

const hook = (body: string): string => `#cloud-boothook\n#!/bin/sh\n${body}\n`;
const CONFIG = "#cloud-config\nupdates: {}\n";

test.each([
  [[undefined, undefined], undefined],
  [[undefined, CONFIG], CONFIG],
  [[hook("echo a"), undefined], hook("echo a")],
])("%j alone stays as it is", (parts, whole) => {
  expect(vendorDataOf(parts)).toBe(whole);
});

test("boothooks are one script, and neither a name nor an end of one is the next one's", () => {
  const first = "say() { echo first: $1; }\ncat <<'END'\nas it is: $x )\nEND\nsay a; x=1; exit 3";
  const whole = vendorDataOf([hook(first), hook('say b 2>/dev/null || echo "x=$x"')]) ?? "";
  expect(whole.split("\n", 2)).toEqual(["#cloud-boothook", "#!/bin/sh"]);
  const said = execFileSync("/bin/sh", ["-c", whole], { encoding: "utf8" });
  expect(said).toBe("as it is: $x )\nfirst: a\nx=\n");
});

test("what is no boothook is a part of its own", () => {
  const whole = vendorDataOf([CONFIG, hook("echo a"), hook("echo b")]) ?? "";
  const types = [...whole.matchAll(/^Content-Type: (text\/[a-z-]+);/gm)].map(([, type]) => type);
  expect(types).toEqual(["text/cloud-config", "text/cloud-boothook"]);
  const bodies = whole.split("\n\n").slice(2);
  const hooks = Buffer.from(bodies[1]?.split("\n--")[0] ?? "", "base64").toString();
  expect(hooks).toBe("#cloud-boothook\n#!/bin/sh\n(\necho a\n)\n(\necho b\n)\n");
});
