import { ignitionProblem, readSshKeys } from "@trine/annotations";
import type { MachineSettings, SeedSource } from "@trine/annotations";
import { TrineError } from "@trine/base";
import type { GuestFile } from "@trine/cloud-init";
import type { JsonObject } from "../json-shape.ts";
import { injectedFiles } from "./injected-files.ts";
import { readSource } from "./seed-volumes.ts";
import type { SourceContent } from "./seed-volumes.ts";
import { directoryOf, fileOf, wholeText } from "./source-text.ts";
import { userDataOf } from "./user-data-of.ts";

/** What the machine is told, of annotations and volumes together. */
interface FirstBoot {
  readonly userData?: string | undefined;
  readonly sshKeys: readonly string[];
  readonly files: readonly GuestFile[];
  readonly networkData?: string | Readonly<Record<string, unknown>> | undefined;
}

const MAX_KEYS = 64;
const DEFAULT_KEYS_FILE = "authorized_keys";
const DEFAULT_NETWORK_FILE = "networkdata";
const ANSWERS = ["autounattend.xml", "unattend.xml"];

/** Reads what is to be read; kind `invalid` or `notFound`, naming the annotation. */
export async function firstBoot(settings: MachineSettings, spec: JsonObject): Promise<FirstBoot> {
  const of = <T>(
    key: string,
    source: SeedSource | undefined,
    take: (content: SourceContent) => T,
  ): Promise<T | undefined> => fromSource(spec, key, source, take);
  const { userDataFrom, sshKeysFrom, filesFrom, networkDataFrom, sshKeys } = settings;
  const userData = await of("user-data-from", userDataFrom, (found) => userDataOf(settings, found));
  const keys: string[] = [];
  for (const source of sshKeysFrom ?? []) {
    keys.push(...((await of("ssh-keys-from", source, keysOf)) ?? []));
  }
  const isReplaced = settings.userDataMerge === "replace" && sshKeys.length > 0;
  const files = await of("files-from", filesFrom, (found) =>
    injectedFiles(directoryOf(found), filesFrom?.named?.kind === "secret" ? 0o600 : 0o644),
  );
  const network = await of("network-data-from", networkDataFrom, networkOf);
  return {
    userData: userDataFrom === undefined ? settings.userData : userData,
    sshKeys: isReplaced ? sshKeys : [...keys, ...sshKeys],
    files: files ?? [],
    networkData: network ?? settings.networkData,
  };
}

/** The machine's Ignition config; undefined without one. */
export async function ignitionOf(
  { ignition, ignitionFrom }: MachineSettings,
  spec: JsonObject,
): Promise<string | undefined> {
  const read = await fromSource(spec, "ignition-from", ignitionFrom, (found) => {
    const text = wholeText(found);
    const problem = ignitionProblem(text);
    if (problem !== undefined) throw new TrineError("invalid", problem);
    return text;
  });
  return read ?? ignition;
}

/** The files of Windows' CD of answers; undefined without one. */
export async function answersOf(
  { sysprepFrom }: MachineSettings,
  spec: JsonObject,
): Promise<readonly { readonly name: string; readonly bytes: Buffer }[] | undefined> {
  return fromSource(spec, "sysprep-from", sysprepFrom, (found) => {
    const files = [...directoryOf(found)].map(([name, bytes]) => ({ name, bytes }));
    if (!files.some(({ name }) => ANSWERS.includes(name.toLowerCase()))) {
      throw new TrineError("invalid", `has neither ${ANSWERS.join(" nor ")}`);
    }
    return files;
  });
}

async function fromSource<T>(
  spec: JsonObject,
  key: string,
  source: SeedSource | undefined,
  take: (content: SourceContent) => T,
): Promise<T | undefined> {
  if (source === undefined) return undefined;
  try {
    return take(await readSource(spec, source));
  } catch (cause) {
    throw TrineError.during(`annotation trine.dev/${key}`, cause);
  }
}

function networkOf(content: SourceContent): string {
  if (content.kind === "file") return wholeText(content);
  return wholeText({ kind: "file", bytes: fileOf(content.files, DEFAULT_NETWORK_FILE) });
}

/** Of a directory its authorized_keys; where it has none, all of its files. */
function keysOf(content: SourceContent): readonly string[] {
  const files = content.kind === "file" ? [content.bytes] : keyFiles(content.files);
  const text = files.map((bytes) => wholeText({ kind: "file", bytes })).join("\n");
  const read = readSshKeys(text, MAX_KEYS);
  if ("why" in read) throw new TrineError("invalid", read.why);
  return read.keys;
}

function keyFiles(files: ReadonlyMap<string, Buffer>): readonly Buffer[] {
  const whole = files.get(DEFAULT_KEYS_FILE);
  if (whole !== undefined) return [whole];
  if (files.size > 0) return [...files.values()];
  throw new TrineError("notFound", "there is no key: it is empty");
}
