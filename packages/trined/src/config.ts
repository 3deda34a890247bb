import { readFile } from "node:fs/promises";
import * as v from "valibot";
import { parse } from "yaml";
import { TrineError, messageOf } from "@trine/base";

export const CONFIG_VERSION = "config.trine.dev/v1alpha1";
export const DEFAULT_CONFIG_PATH = "/etc/trine/config.yaml";

const MIB = 1024 * 1024;
const path = v.pipe(v.string(), v.startsWith("/", "an absolute path"), v.maxLength(80));
const bytes = v.pipe(v.number(), v.integer(), v.minValue(MIB));

/** One versioned file. Each field has its default and the reason beside it; unknown fields are refused. */
const Config = v.strictObject({
  apiVersion: v.literal(CONFIG_VERSION),
  /** tmpfs: sockets, pods' run-time files. Short, since socket paths hold 107 bytes. */
  stateDir: v.optional(path, "/run/trine"),
  /** Disk: console logs and caches. */
  rootDir: v.optional(path, "/var/lib/trine"),
  log: v.optional(
    v.strictObject({
      level: v.optional(v.picklist(["debug", "info", "warn", "error"]), "info"),
    }),
    {},
  ),
  machines: v.optional(
    v.strictObject({
      qemu: v.optional(path, "/usr/bin/qemu-system-x86_64"),
      /** auto boots a probe guest under KVM once and falls back to software emulation. */
      accelerator: v.optional(v.picklist(["auto", "kvm", "tcg"]), "auto"),
      /** Guest memory when neither annotation nor limit says. */
      defaultMemoryBytes: v.optional(bytes, 512 * MIB),
      /** Largest virtual disk an image may claim. */
      maxDiskBytes: v.optional(bytes, 16 * 1024 * 1024 * MIB),
      /** The console log rotates at this size: two files at most. */
      consoleSpoolBytes: v.optional(bytes, 64 * MIB),
      /** Machines run as uidBase, uidBase+1, …: ids no one else uses. */
      uidBase: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1000)), 1_900_000_000),
      uidCount: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1)), 10_000),
      uefi: v.optional(
        v.strictObject({
          code: v.optional(path, "/usr/share/OVMF/OVMF_CODE_4M.fd"),
          vars: v.optional(path, "/usr/share/OVMF/OVMF_VARS_4M.fd"),
        }),
        {},
      ),
      /** The ACPI power button is pressed again at this interval: guests miss it while they boot. */
      powerButtonEveryMs: v.optional(v.pipe(v.number(), v.integer(), v.minValue(100)), 5_000),
    }),
    {},
  ),
});

export type Config = v.InferOutput<typeof Config>;

/** The defaults, as a node without a file has them. */
export function defaultConfig(): Config {
  return v.parse(Config, { apiVersion: CONFIG_VERSION });
}

/** Reads and checks a file; the default path may be absent. Kind `invalid` lists every wrong field. */
export async function loadConfig(file: string | undefined): Promise<Config> {
  let text: string;
  try {
    text = await readFile(file ?? DEFAULT_CONFIG_PATH, "utf8");
  } catch (cause) {
    if (file === undefined && (cause as NodeJS.ErrnoException).code === "ENOENT") {
      return defaultConfig();
    }
    throw new TrineError("notFound", `config ${file ?? DEFAULT_CONFIG_PATH}: ${messageOf(cause)}`);
  }
  return parseConfig(text, file ?? DEFAULT_CONFIG_PATH);
}

export function parseConfig(text: string, name: string): Config {
  let value: unknown;
  try {
    value = parse(text);
  } catch (cause) {
    throw new TrineError("malformed", `config ${name}: ${messageOf(cause)}`);
  }
  const result = v.safeParse(Config, value);
  if (result.success) return result.output;
  const lines = result.issues.map(
    (issue) => `  ${v.getDotPath(issue) ?? "file"}: ${issue.message}`,
  );
  throw new TrineError("invalid", `config ${name} is wrong:\n${lines.join("\n")}`);
}
