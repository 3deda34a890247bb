import { readFile, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { TrineError, errnoOf, quote } from "@trine/base";
import { parseChecksum } from "@trine/image-import";
import type { HttpSettings, VolumeRequest } from "@trine/image-import";
import type { VolumeOrder } from "@trine/node-door";

const MAX_FILES = 64;

type HttpSource = Extract<VolumeOrder["source"], { readonly kind: "http" }>;

/** How a URL is fetched: with what the pod's Secrets and ConfigMaps hold. */
export async function httpOf(
  { url, checksum, credentials, certificates, headers = [], headerSecrets = [] }: HttpSource,
  settings: HttpSettings,
  workDir: string,
): Promise<Pick<VolumeRequest, "source" | "http" | "checksum">> {
  const secret = (await Promise.all(headerSecrets.map(valuesIn))).flat();
  const host = URL.parse(url)?.host;
  const own = credentials === undefined ? undefined : await credentialsIn(credentials);
  return {
    source: url,
    ...(checksum === undefined ? {} : { checksum: parseChecksum(checksum) }),
    http: {
      ...settings,
      headers: headersOf([...headers, ...secret]),
      credentials: (of) => (of === host ? own : undefined),
      ...(certificates === undefined
        ? {}
        : { caFile: await authorities(certificates, join(workDir, "authorities.pem")) }),
    },
  };
}

/** Kind `invalid`, without the value, which may be a key. */
export function headersOf(lines: readonly string[]): Record<string, string> {
  const all: Record<string, string> = {};
  for (const line of lines) {
    const [, name, value] =
      /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t\x20-\x7e]*)$/.exec(line.trim()) ?? [];
    if (name === undefined || value === undefined) {
      throw new TrineError("invalid", `a header: NAME: VALUE is wanted, not ${line.length} bytes`);
    }
    all[name.toLowerCase()] = value;
  }
  return all;
}

async function credentialsIn(
  dir: string,
): Promise<{ kind: "basic"; username: string; password: string }> {
  const [username, password] = await Promise.all(
    ["accessKeyId", "secretKey"].map(async (key) => readFile(join(dir, key), "utf8").catch(absent)),
  );
  if (username === undefined || password === undefined) {
    throw new TrineError("invalid", "the Secret has to hold accessKeyId and secretKey");
  }
  return { kind: "basic", username, password };
}

async function authorities(dir: string, file: string): Promise<string> {
  const found = await valuesIn(dir);
  if (found.length === 0) throw new TrineError("invalid", "the ConfigMap of certificates is empty");
  await writeFile(file, found.join("\n"));
  return file;
}

/** Each value of a ConfigMap or Secret, by the order of its keys. */
async function valuesIn(dir: string): Promise<string[]> {
  const names = (await readdir(dir)).filter((name) => !name.startsWith("..")).sort();
  if (names.length > MAX_FILES) {
    throw new TrineError("invalid", `${quote(dir)}: more than ${MAX_FILES} keys`);
  }
  return Promise.all(names.map((name) => readFile(join(dir, name), "utf8")));
}

function absent(cause: unknown): undefined {
  if (errnoOf(cause) !== "ENOENT") throw cause;
  return undefined;
}
