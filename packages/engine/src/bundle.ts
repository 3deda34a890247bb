import { open } from "node:fs/promises";
import { join } from "node:path";
import { TrineError } from "@trine/base";
import { parseExactJson } from "./exact-json.ts";
import { list, record, strings } from "./json-shape.ts";
import type { JsonObject } from "./json-shape.ts";

const MAX_CONFIG_BYTES = 4 * 1024 * 1024;

const CONTAINER_TYPES = ["io.kubernetes.cri.container-type", "io.kubernetes.cri-o.ContainerType"];

/** What the engine reads from an OCI bundle's config.json. */
export interface Bundle {
  readonly path: string;
  readonly annotations: Readonly<Record<string, string>>;
  readonly hostname: string | undefined;
  /** Host file mounted as the container's /etc/resolv.conf. */
  readonly resolvConf: string | undefined;
  readonly memoryLimitBytes: number | undefined;
  readonly oomScoreAdj: number;
  /** False for a container of ctr or docker, which is its own pod. */
  readonly isPodSandbox: boolean;
  /** The whole config.json. */
  readonly spec: JsonObject;
}

/** Reads a bundle; kind `invalid` when its config.json is absent, too large or not what OCI says. */
export async function readBundle(path: string): Promise<Bundle> {
  const file = join(path, "config.json");
  let config: unknown;
  try {
    config = parseExactJson(await readLimited(file));
  } catch (cause) {
    throw TrineError.during(`read ${file}`, cause);
  }
  const root = record(config);
  const linux = record(root["linux"]);
  const limit = record(record(linux["resources"])["memory"])["limit"];
  const oom = record(root["process"])["oomScoreAdj"];
  const hostname = root["hostname"];
  const annotations = strings(root["annotations"]);
  return {
    path,
    annotations,
    hostname: typeof hostname === "string" && hostname !== "" ? hostname : undefined,
    resolvConf: mountSource(root["mounts"], "/etc/resolv.conf"),
    memoryLimitBytes: typeof limit === "number" && limit > 0 ? limit : undefined,
    oomScoreAdj: typeof oom === "number" ? oom : 0,
    isPodSandbox: CONTAINER_TYPES.some((key) => annotations[key] === "sandbox"),
    spec: root,
  };
}

async function readLimited(file: string): Promise<string> {
  await using handle = await open(file, "r");
  const { size } = await handle.stat();
  if (size > MAX_CONFIG_BYTES) {
    throw new TrineError("invalid", `${size} bytes, at most ${MAX_CONFIG_BYTES} are read`);
  }
  return await handle.readFile("utf8");
}

function mountSource(mounts: unknown, destination: string): string | undefined {
  for (const mount of list(mounts)) {
    const { destination: at, source } = record(mount);
    if (at === destination && typeof source === "string") return source;
  }
  return undefined;
}
