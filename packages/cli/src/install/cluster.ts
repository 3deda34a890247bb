import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { TrineError } from "@trine/base";
import { installCluster, readManifest, uninstallCluster } from "@trine/cluster-install";
import { KubeClient, type KubeObject, readKubeconfig } from "@trine/kube-client";
import type { Io } from "../io.ts";
import { printable } from "../output/table.ts";
import { ownPrefix } from "./own-prefix.ts";

export interface ClusterFlags {
  readonly cluster: boolean;
  readonly kubeconfig?: string;
  readonly prefix?: string;
  readonly image?: string;
  readonly dryRun: boolean;
  /** Milliseconds. */
  readonly timeout: number;
}

export interface ClusterUninstallFlags extends ClusterFlags {
  readonly removeMachines: boolean;
}

/** `trine install --cluster`: the control plane in a cluster, until it serves. */
export async function installClusterCommand(io: Io, flags: ClusterFlags): Promise<void> {
  const dir = join(flags.prefix ?? ownPrefix(), "share/trine/cluster");
  const cluster = (await manifest(dir, "cluster.yaml")).map((object) =>
    withImage(object, flags.image),
  );
  const defaults = await manifest(dir, "defaults.yaml");
  await withCluster(io, flags, async (api, tell) => {
    const { dryRun, timeout: timeoutMs } = flags;
    await installCluster(api, { cluster, defaults, dryRun, timeoutMs, tell }, io.signal);
    if (!dryRun) tell("the control plane serves");
  });
}

/** `trine uninstall --cluster`: all of it goes, also where none of it runs. */
export async function uninstallClusterCommand(io: Io, flags: ClusterUninstallFlags): Promise<void> {
  await withCluster(io, flags, (api, tell) => {
    const { dryRun, removeMachines, timeout: timeoutMs } = flags;
    return uninstallCluster(api, { dryRun, removeMachines, timeoutMs, tell }, io.signal);
  });
}

async function withCluster(
  io: Io,
  { kubeconfig }: ClusterFlags,
  work: (api: KubeClient, tell: (line: string) => void) => Promise<void>,
): Promise<void> {
  if (kubeconfig === undefined) {
    throw new TrineError("invalid", "--cluster: say which by --kubeconfig FILE");
  }
  const api = new KubeClient(await readKubeconfig(kubeconfig));
  try {
    await work(api, (line) => {
      io.stdout.write(`${printable(line)}\n`);
    });
  } finally {
    api.close();
  }
}

async function manifest(dir: string, name: string): Promise<readonly KubeObject[]> {
  const text = await readFile(join(dir, name), "utf8").catch((cause: unknown) => {
    throw TrineError.during("a file of this release, run make install again", cause);
  });
  return readManifest(name, text);
}

interface Deployment extends KubeObject {
  readonly spec: {
    readonly template: { readonly spec: { readonly containers: readonly object[] } };
  };
}

function withImage(object: KubeObject, image: string | undefined): KubeObject {
  if (image === undefined || object.kind !== "Deployment") return object;
  const { spec, ...rest } = object as Deployment;
  const pod = spec.template.spec;
  const containers = pod.containers.map((container) => ({ ...container, image }));
  const template = { ...spec.template, spec: { ...pod, containers } };
  return { ...rest, spec: { ...spec, template } } as Deployment;
}
