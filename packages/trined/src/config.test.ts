import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { defaultConfig, loadConfig, parseConfig } from "./config.ts";

const VERSION = "apiVersion: config.trine.dev/v1alpha1\n";

test("a file with the version alone is the defaults", () => {
  expect(parseConfig(VERSION, "x")).toEqual(defaultConfig());
  expect(defaultConfig()).toMatchObject({
    stateDir: "/run/trine",
    machines: { accelerator: "auto", uefi: { code: "/usr/share/OVMF/OVMF_CODE_4M.fd" } },
  });
});

test("fields are taken, the rest stays as it is", () => {
  const config = parseConfig(`${VERSION}machines:\n  accelerator: tcg\n  uefi: {code: /x}\n`, "x");
  expect(config.machines).toMatchObject({ accelerator: "tcg", uidCount: 10_000 });
  expect(config.machines.uefi).toMatchObject({
    code: "/x",
    vars: "/usr/share/OVMF/OVMF_VARS_4M.fd",
  });
});

test.each([
  ["no file at all", "", /file: .*null/],
  ["a list", "- a", /apiVersion: /],
  ["no version", "stateDir: /x", /apiVersion: /],
  ["another version", "apiVersion: config.trine.dev/v9", /apiVersion: .*v1alpha1.*v9/],
  ["an unknown field", `${VERSION}stateDri: /x`, /stateDri: there is no such field/],
  ["one deeper", `${VERSION}machines: {qemuu: /x}`, /machines\.qemuu: there is no such field/],
  ["text for a number", `${VERSION}machines: {uidCount: many}`, /machines\.uidCount: .*"many"/],
  ["a fraction", `${VERSION}machines: {uidCount: 1.5}`, /machines\.uidCount: /],
  ["not a number", `${VERSION}machines: {uidCount: .nan}`, /machines\.uidCount: /],
  ["too little", `${VERSION}machines: {defaultMemoryBytes: 512}`, /at least 1048576/],
  ["too many ids", `${VERSION}machines: {uidBase: 4294967000}`, /machines: uidBase \+ uidCount/],
  ["a relative path", `${VERSION}rootDir: var`, /rootDir: an absolute path/],
  ["a long path", `${VERSION}stateDir: /${"x".repeat(60)}`, /stateDir: at most 50/],
  ["another level", `${VERSION}log: {level: loud}`, /log\.level: .*"debug".*"loud"/],
  ["a mapping for text", `${VERSION}stateDir: {a: b}`, /stateDir: .*string.*Object/],
])("%s is refused with the field and the reason", (_, text, says) => {
  expect(() => parseConfig(text, "/etc/x.yaml")).toThrow(says);
  expect(() => parseConfig(text, "/etc/x.yaml")).toThrow(/^config \/etc\/x\.yaml is wrong:\n {2}/);
});

test("every wrong field is named at once", () => {
  const text = `${VERSION}rootDir: var\nextra: 1\nmachines: {uidCount: 0}`;
  expect(() => parseConfig(text, "x")).toThrow(/rootDir: .*machines\.uidCount: .*extra: /s);
});

test.each([
  ["no YAML", "a: [", /config x: /],
  ["a key twice", `${VERSION}${VERSION}`, /unique/],
  ["aliases that multiply", bomb(), /alias/i],
])("%s is malformed", (_, text, says) => {
  expect(() => parseConfig(text, "x")).toThrow(says);
  expect(() => parseConfig(text, "x")).toThrow(expect.objectContaining({ kind: "malformed" }));
});

function bomb(): string {
  const lines = ["l0: &l0 [x, x, x, x, x, x, x, x, x, x]"];
  for (let level = 1; level < 8; level += 1) {
    const names = Array.from({ length: 10 }, () => `*l${level - 1}`);
    lines.push(`l${level}: &l${level} [${names.join(", ")}]`);
  }
  return lines.join("\n");
}

test("a giant file is refused", () => {
  expect(() => parseConfig(`#${"x".repeat(2 ** 20)}`, "x")).toThrow(/more than 1048576/);
});

test("a named file must be there, the usual one need not", async () => {
  await expect(loadConfig("/nowhere/c.yaml")).rejects.toMatchObject({ kind: "notFound" });
  const dir = await mkdtemp(join(tmpdir(), "trine-config-"));
  try {
    await writeFile(join(dir, "c.yaml"), `${VERSION}rootDir: /r\n`);
    expect(await loadConfig(join(dir, "c.yaml"))).toMatchObject({ rootDir: "/r" });
    await expect(loadConfig(dir)).rejects.toMatchObject({ kind: "unavailable" });
  } finally {
    await rm(dir, { recursive: true });
  }
});
