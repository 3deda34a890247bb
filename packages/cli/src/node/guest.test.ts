import { createHash } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { runWith } from "../testing.ts";
import { parseAs } from "../testing/schema.ts";

const NOWHERE = "/nowhere";
let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-guest-"));
});
afterEach(() => rm(dir, { recursive: true }));

async function writeImage(): Promise<Record<string, unknown>> {
  const file = async (name: string): Promise<object> => {
    await writeFile(join(dir, name), name);
    const sha256 = createHash("sha256").update(name).digest("hex");
    return { name, bytes: name.length, sha256 };
  };
  const manifest = {
    format: 1,
    kernel: { release: "6.1.0-9-amd64", source: "Debian k", file: await file("vmlinux") },
    initrd: await file("initrd.cpio"),
    agent: { version: "0.1.0", sha256: "0".repeat(64) },
    cmdline: "quiet",
    features: ["overlay", "vmgenid"],
    modules: [],
  };
  await writeFile(join(dir, "guest.json"), JSON.stringify(manifest));
  return manifest;
}

test.each([
  [["guest", "build", "--out", "here"], /absolute path/],
  [["guest", "build", "--from-source", "--kernel", "k"], /cannot be used with/],
  [["guest", "build", "--modules", "/m"], /--modules goes with --kernel/],
  [["guest", "show", "-o", "xml"], /table, wide, json/],
  [["guest", "show", "a", "b"], /too many arguments/],
  [["guest"], /build.*show/s],
])("%j is bad usage: exit code 2, told on stderr", async (argv, says) => {
  const ran = await runWith(NOWHERE, argv);
  expect(ran).toMatchObject({ code: 2, stdout: "" });
  expect(ran.stderr).toMatch(says);
});

test("show prints the image as a table and as JSON", async () => {
  const manifest = await writeImage();
  const { code, stdout } = await runWith(NOWHERE, ["guest", "show", dir]);
  expect(code).toBe(0);
  expect(stdout).toMatch(/^release +6\.1\.0-9-amd64$/m);
  expect(stdout).toMatch(/^features +overlay vmgenid$/m);
  expect(stdout).toMatch(/^modules +none$/m);
  const json = await runWith(NOWHERE, ["guest", "show", dir, "-o", "json"]);
  expect(parseAs("guest", json.stdout)).toEqual({ dir, ...manifest });
});

test("show of nothing is exit code 3, of a damaged image 2", async () => {
  expect(await runWith(NOWHERE, ["guest", "show", dir])).toEqual({
    code: 3,
    stdout: "",
    stderr: `trine: ${dir}: no guest image there; \`trine guest build\` makes one\n`,
  });
  await writeImage();
  await writeFile(join(dir, "vmlinux"), "VMLINUX");
  const damaged = await runWith(NOWHERE, ["guest", "show", dir]);
  expect(damaged).toMatchObject({ code: 2, stdout: "" });
  expect(damaged.stderr).toMatch(/vmlinux: is not what guest\.json says/);
});

test.each([
  ["text", "nothing", /no JSON/],
  ["another version", '{"format":2}', /format 2, known is 1/],
  ["a list", "[]", /not a guest image's manifest/],
  ["a name that leads elsewhere", undefined, /not a guest image's manifest/],
  ["a giant", "x".repeat(1 << 17), /more than 65536 bytes/],
])("show refuses a guest.json that is %s", async (_, text, says) => {
  const manifest = await writeImage();
  const elsewhere = JSON.stringify({ ...manifest, initrd: { name: "../x", bytes: 1, sha256: "" } });
  await writeFile(join(dir, "guest.json"), text ?? elsewhere);
  const ran = await runWith(NOWHERE, ["guest", "show", dir]);
  expect(ran).toMatchObject({ code: 2, stdout: "" });
  expect(ran.stderr).toMatch(says);
});

test("build without an agent or a kernel is exit code 3 and leaves nothing", async () => {
  const out = ["--out", join(dir, "out"), "--cache", join(dir, "cache")];
  const noAgent = await runWith(NOWHERE, ["guest", "build", ...out, "--agent", "/nowhere/agent"]);
  expect(noAgent).toMatchObject({ code: 3, stdout: "" });
  expect(noAgent.stderr).toBe("trine: /nowhere/agent: no such agent; give its file with --agent\n");
});
