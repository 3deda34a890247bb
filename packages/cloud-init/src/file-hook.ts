import { posix } from "node:path";
import { quote } from "@trine/base";
import { requireValid } from "./require-valid.ts";

/** A file that is written in the guest. */
export interface GuestFile {
  /** Absolute path in the guest. */
  readonly path: string;
  readonly bytes: Uint8Array;
  /** Of a file that is not there; one that is keeps its own. */
  readonly mode: number;
  /** At every boot, or once in an instance's life. */
  readonly when: "boot" | "instance";
}

const MAX_FILES = 256;
const MAX_PATH = 1024;
/** cloud-init's own of the instance it is at work for. */
const DONE = "/var/lib/cloud/instance/sem/trine-files";

/**
 * Vendor data that writes files before cloud-init does anything else: a boothook of the vendor's takes no key from the
 * user's own data. What cannot be written is said in the guest's kernel log and keeps nothing else from coming up.
 * Undefined without files. Kind `invalid` for what cannot be a file's name.
 */
export function fileHook(files: readonly GuestFile[]): string | undefined {
  if (files.length === 0) return undefined;
  requireValid(files.length <= MAX_FILES, "files", `${files.length}; the limit is ${MAX_FILES}`);
  const of = (when: GuestFile["when"]): string[] =>
    files.filter((file) => file.when === when).map(put);
  const once = of("instance");
  const first =
    once.length === 0
      ? []
      : [
          `if [ ! -e ${DONE} ]; then`,
          ...once,
          `mkdir -p ${posix.dirname(DONE)}`,
          `: >${DONE}`,
          "fi",
        ];
  return [...HOOK, ...of("boot"), ...first, ""].join("\n");
}

const HOOK = [
  "#cloud-boothook",
  "#!/bin/sh",
  "# Writes the files of the pod.",
  "put() {",
  '  mkdir -p "${2%/*}/" && { [ -e "$2" ] || { : >"$2" && chmod "$1" "$2"; }; } &&',
  '    base64 -d >"$2" || echo "trine: cannot write $2" >/dev/kmsg',
  "}",
];

function put({ path, bytes, mode }: GuestFile): string {
  const isPlain = path.length <= MAX_PATH && /^\/[^\p{Cc}]*[^\p{Cc}/]$/u.test(path);
  const parts = path.split("/").slice(1);
  const isPath = isPlain && parts.every((part) => part !== "" && part !== "." && part !== "..");
  requireValid(isPath, "files", `${quote(path)} is not the absolute path of a file`);
  const text = Buffer.from(bytes).toString("base64").replaceAll(/.{76}/g, "$&\n");
  const name = `'${path.replaceAll("'", `'\\''`)}'`;
  return `put ${mode.toString(8).padStart(4, "0")} ${name} <<'END'\n${text}\nEND`;
}
