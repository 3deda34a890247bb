import { chmod, chown, mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { execFileSync } from "node:child_process";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { readConfig } from "./read-config.ts";
import { CONFIG_VERSION } from "./settings.ts";

let dir: string;
let file: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-config-"));
  file = join(dir, "config.yaml");
});
afterEach(async () => {
  await rm(dir, { recursive: true });
});

function write(lines: string): Promise<void> {
  return writeFile(file, `apiVersion: ${CONFIG_VERSION}\n${lines}`, { mode: 0o644 });
}

test("a variable rules over the file, the file over the default; an empty variable says nothing", async () => {
  await write("level: vm\nprogress: json\nstate: /run/own\n");
  const environment = { TRINE_CONFIG: file, TRINE_PROGRESS: "none", TRINE_LEVEL: "" };
  const { failure, settings } = await readConfig(environment);
  expect(failure).toBeUndefined();
  expect(settings.progress).toEqual({ name: "progress", value: "none", origin: "TRINE_PROGRESS" });
  expect(settings.level).toEqual({ name: "level", value: "vm", origin: file });
  expect(settings.state).toMatchObject({ value: "/run/own", origin: file });
  expect(settings.snapshotter).toMatchObject({ value: "overlayfs", origin: "default" });
});

test("the file lies where XDG says, which has no relative directories; one nobody named may be absent", async () => {
  const of = async (environment: Record<string, string>): Promise<string> => {
    const config = await readConfig(environment);
    expect(config.failure).toBeUndefined();
    return config.file;
  };
  const home = { HOME: dir };
  expect(await of(home)).toBe(join(dir, ".config/trine/config.yaml"));
  expect(await of({ ...home, XDG_CONFIG_HOME: "x" })).toBe(join(dir, ".config/trine/config.yaml"));
  expect(await of({ ...home, XDG_CONFIG_HOME: dir })).toBe(join(dir, "trine/config.yaml"));
  await mkdir(join(dir, "trine"));
  await write("level: microvm\n");
  await symlink(file, join(dir, "trine/config.yaml"));
  const { settings } = await readConfig({ XDG_CONFIG_HOME: dir });
  expect(settings.level.value).toBe("microvm");
});

test.each([
  ["levell: vm", "invalid", /levell: there is no such field; there are containerd, state/],
  ["level: jail\nprogress: 7", "invalid", /level: one of .*"jail"; progress: .* a number/],
  ["state: run", "invalid", /state: an absolute path is wanted/],
  [`containerd: /${"x".repeat(200)}`, "invalid", /at most 107 characters/],
  ["apiVersion: v0", "invalid", /config\.yaml/],
  ["level: vm\nlevel: vm", "invalid", /unique/],
  ["a: &a [1]\nb: *a", "invalid", /config\.yaml/],
  ["[", "invalid", /config\.yaml/],
  ["__proto__: {level: vm}", "invalid", /there is no such field/],
  ["#".repeat(70_000), "invalid", /more than 65536 bytes/],
])("a file with %j is refused", async (lines, kind, says) => {
  await write(lines.slice(0, 70_000));
  const { failure, settings } = await readConfig({ TRINE_CONFIG: file });
  expect(failure).toMatchObject({ kind, message: expect.stringMatching(says) as string });
  // Help still has defaults to show.
  expect(settings.level.value).toBe("container");
});

test("no version, no fields, no file: each is told", async () => {
  const told = async (): Promise<unknown> => (await readConfig({ TRINE_CONFIG: file })).failure;
  expect(await told()).toMatchObject({ kind: "notFound" });
  await writeFile(file, "level: vm\n");
  expect(await told()).toMatchObject({ message: expect.stringContaining("apiVersion") as string });
  await writeFile(file, "");
  expect(await told()).toMatchObject({ message: expect.stringContaining("fields") as string });
  await rm(file);
  await mkdir(file);
  expect(await told()).toMatchObject({
    kind: "invalid",
    message: expect.stringContaining("no file") as string,
  });
  await rm(file, { recursive: true });
  // A pipe that nobody writes to keeps nobody waiting.
  execFileSync("mkfifo", [file]);
  expect(await told()).toMatchObject({
    kind: "invalid",
    message: expect.stringContaining("no file") as string,
  });
});

test("a file that others may write, or that is another's, is not believed", async () => {
  await write("level: vm\n");
  const told = async (): Promise<unknown> => (await readConfig({ TRINE_CONFIG: file })).failure;
  for (const mode of [0o664, 0o646]) {
    await chmod(file, mode);
    expect(await told()).toMatchObject({ kind: "forbidden" });
  }
  await chmod(file, 0o600);
  expect(await told()).toBeUndefined();
  if (process.geteuid?.() !== 0) return;
  await chown(file, 12345, 0);
  expect(await told()).toMatchObject({
    kind: "forbidden",
    message: expect.stringContaining("12345") as string,
  });
});

test("a variable is checked as the file is", async () => {
  const { failure } = await readConfig({ HOME: dir, TRINE_CONFIRM: "maybe" });
  expect(failure).toMatchObject({
    message: expect.stringMatching(/^TRINE_CONFIRM: one of/) as string,
  });
});
