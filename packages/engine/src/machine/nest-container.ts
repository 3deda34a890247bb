import { readFile, rename, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { TrineError } from "@trine/base";
import type { Bundle } from "../bundle.ts";
import { findProgram } from "../find-program.ts";
import { podSysctls } from "../guest/pod-sysctls.ts";
import { record, text } from "../json-shape.ts";
import type { JsonObject } from "../json-shape.ts";
import type { PodContext } from "../pod-context.ts";
import { shareNetwork } from "../share-network.ts";
import { importFiles, importSpec, makeImportFiles, systemDirs } from "./import-container.ts";
import { namespaceTypes, nestedSpec, wantsSharedPids } from "./nested-spec.ts";
import { runningPause, startPause } from "./pause.ts";

/** containerd.runc.v1.Options with systemd_cgroup (field 9) set. */
const SYSTEMD_CGROUP = Uint8Array.of(9 << 3, 1);
const HOST_FIELDS = [
  { type: "network", field: "hostNetwork" },
  { type: "pid", field: "hostPID" },
  { type: "ipc", field: "hostIPC" },
] as const;
/** `slice:prefix:name`, as containerd writes it where systemd keeps the control groups. */
const SYSTEMD_PATH = /^[^/][^:]*:[^:]*:[^:]+$/;

/**
 * Hands an ordinary container of a machine's pod to the node's own runc shim (decision 9), below the pod's shim.
 * Repeatable up to the last step, after which its Create is that shim's to answer.
 */
export async function nestContainer(
  pod: PodContext,
  container: { readonly id: string; readonly name: string; readonly isImport?: boolean },
  bundle: Bundle,
): Promise<void> {
  const { shim, deps, files, log } = pod;
  const program = await nestedShim(deps.config.machines.nestedShim);
  refuseHostPod(pod);
  await joinContainers(pod);
  await rewriteSpec(pod, container, bundle);
  const cgroupsPath = text(record(bundle.spec["linux"])["cgroupsPath"]);
  await shim.nest({
    id: container.id,
    program,
    containerd: (await readFile(files.containerd, "utf8")).trim(),
    logPath: files.nestedLog,
    runcOptions: SYSTEMD_PATH.test(cgroupsPath) ? SYSTEMD_CGROUP : new Uint8Array(),
  });
  log.info({ container: container.name }, "ordinary container beside the machine");
}

/** The configured one, else one of that name where software from elsewhere than the distribution is. */
async function nestedShim(configured: string): Promise<string> {
  const places = [configured, join("/usr/local/bin", basename(configured))];
  const found = await findProgram(places);
  if (found !== undefined) return found;
  throw new TrineError(
    "wrongState",
    `containers beside a machine run under the node's own runc shim, and there is none at ${places.join(" or ")}: ` +
      "set machines.nestedShim",
  );
}

/**
 * containerd names the sandbox's namespaces to a container that is to have the host's, and leaves those out of the
 * sandbox: so the sandbox's say it.
 */
function refuseHostPod({ sandbox, identity }: PodContext): void {
  const has = namespaceTypes(sandbox.spec);
  const wrong = HOST_FIELDS.filter(({ type }) => !has.includes(type)).map(({ field }) => field);
  if (wrong.length === 0) return;
  throw new TrineError(
    "invalid",
    `pod ${identity.name}: ${wrong.join(", ")}: true is not possible with containers beside a machine; ` +
      "remove it or run them in a pod of their own",
  );
}

/** For the pod's first ordinary container: what the sandbox has not got ready while it was a machine's alone. */
async function joinContainers(pod: PodContext): Promise<void> {
  const { document } = pod;
  if (document.shared !== undefined) return;
  await shareNetwork(pod);
  await prepareNamespaces(pod);
  document.shared = true;
  await pod.save();
}

/** What runc would do for a pause container: the pod's host name and kernel parameters. Repeatable. */
async function prepareNamespaces({ shim, sandbox }: PodContext): Promise<void> {
  const hostname = sandbox.hostname === undefined ? {} : { "kernel.hostname": sandbox.hostname };
  const settings = Object.entries({ ...podSysctls(sandbox), ...hostname });
  if (settings.length === 0) return;
  const argv = ["sysctl", "-qw", ...settings.map(([name, value]) => `${name}=${value}`)];
  const { exitCode, stderr } = await shim.run(argv);
  if (exitCode !== 0) {
    throw new TrineError("invalid", `the pod's kernel parameters: ${stderr.trim()}`);
  }
}

/** Also when it is done again: the spec has the importer's mounts by now, and gets them once more. */
async function asImport(
  { deps, files }: PodContext,
  name: string,
  bundle: Bundle,
): Promise<JsonObject> {
  if (deps.importer === undefined) {
    throw new TrineError("wrongState", "trine.dev/imports: this node has no importer");
  }
  const at = importFiles(files.podDir, name);
  await makeImportFiles(at);
  const system = await systemDirs();
  return importSpec(bundle.spec, deps.importer, { files: at, bundle: bundle.path, system });
}

/** In containerd's bundle, where the runc shim reads it; whole or not at all. */
async function rewriteSpec(
  pod: PodContext,
  { name, isImport }: { readonly name: string; readonly isImport?: boolean },
  bundle: Bundle,
): Promise<void> {
  const { facts, shim } = pod;
  const shares = wantsSharedPids(bundle.spec, facts.pid);
  if (shares) await startPause(pod);
  const { processes, children } = await shim.describe();
  // Also when it is done again: the spec names that process by now, and no more the shim.
  const pausePid = runningPause(children);
  const spec = nestedSpec(
    isImport === true ? await asImport(pod, name, bundle) : bundle.spec,
    {
      network: facts.netns === "" ? `/proc/${facts.pid}/ns/net` : facts.netns,
      shimPid: facts.pid,
      ...(pausePid === undefined ? {} : { pausePid }),
      nestedPids: processes.filter(({ nested }) => nested).map(({ pid }) => pid),
    },
    name,
  );
  const file = join(bundle.path, "config.json");
  await writeFile(`${file}.trine`, JSON.stringify(spec), { mode: 0o600 });
  await rename(`${file}.trine`, file);
}
