import { randomBytes } from "node:crypto";
import { readFile, rename, rm, writeFile } from "node:fs/promises";
import { TrineError, errnoOf, kindOf, messageOf } from "@trine/base";
import type { ErrorKind } from "@trine/base";
import { KubeClient, readKubeconfig } from "@trine/kube-client";
import type { KubeObject, Resource } from "@trine/kube-client";
import { MAPPING_KIND, parseMapping } from "./image-mapping.ts";
import type { ImageMapping } from "./image-mapping.ts";

/** As Virtlet has them. */
const MAPPINGS: Resource<KubeObject & { readonly spec?: unknown }> = {
  group: "virtlet.k8s",
  version: "v1",
  plural: "virtletimagemappings",
  kind: MAPPING_KIND,
  namespaced: true,
};
const NAMESPACE = "kube-system";
/** A pull waits for it. */
const LIST_MS = 10_000;
const MAX_MAPPINGS = 256;
/** Of an API server that is away. */
const AWAY: readonly ErrorKind[] = ["unavailable", "timeout", "exhausted"];

/** Where mappings are resources. */
export interface ApiSource {
  readonly kubeconfig: string;
  /** A file of ours: what they were when they were last read. */
  readonly kept: string;
}

/**
 * The VirtletImageMappings of kube-system, in the order of their names; none where the API has no such kind. While the API
 * server is away, as they last were: a node pulls without it.
 */
export async function apiMappings({ kubeconfig, kept }: ApiSource): Promise<ImageMapping[]> {
  let found: readonly Named[];
  try {
    found = await listed(kubeconfig);
    await keep(kept, found);
  } catch (cause) {
    if (!AWAY.includes(kindOf(cause))) throw TrineError.during("image mappings of the API", cause);
    found = await lastOf(kept, cause);
  }
  return found.map(({ name, spec }) =>
    parseMapping(JSON.stringify({ kind: MAPPING_KIND, spec }), `${NAMESPACE}/${name}`),
  );
}

interface Named {
  readonly name: string;
  readonly spec: unknown;
}

async function listed(kubeconfig: string): Promise<Named[]> {
  const client = new KubeClient(await readKubeconfig(kubeconfig));
  try {
    const signal = AbortSignal.timeout(LIST_MS);
    const { items } = await client.list(MAPPINGS, { namespace: NAMESPACE }, signal);
    if (items.length > MAX_MAPPINGS) {
      throw new TrineError("invalid", `more than ${MAX_MAPPINGS} of them`);
    }
    const named = items.map(({ metadata: { name }, spec = {} }) => ({ name, spec }));
    return named.sort((one, other) => (one.name < other.name ? -1 : 1));
  } catch (cause) {
    if (kindOf(cause) === "notFound") return [];
    throw cause;
  } finally {
    client.close();
  }
}

/** Whole or not at all; for root, as transports may hold keys. */
async function keep(file: string, found: readonly Named[]): Promise<void> {
  const fresh = `${file}.${randomBytes(6).toString("hex")}`;
  try {
    await writeFile(fresh, JSON.stringify(found), { mode: 0o600 });
    await rename(fresh, file);
  } finally {
    await rm(fresh, { force: true });
  }
}

async function lastOf(file: string, why: unknown): Promise<readonly Named[]> {
  try {
    return JSON.parse(await readFile(file, "utf8")) as readonly Named[];
  } catch (cause) {
    if (errnoOf(cause) !== "ENOENT") throw cause;
    const what = `image mappings of the API: ${messageOf(why)}; none were read before`;
    throw new TrineError("unavailable", what, { cause: why });
  }
}
