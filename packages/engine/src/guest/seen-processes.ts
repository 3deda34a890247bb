import { TrineError, kindOf, messageOf } from "@trine/base";
import { list, record, text } from "../json-shape.ts";
import type { JsonObject } from "../json-shape.ts";
import type { PodContext } from "../pod-context.ts";
import type { GuestRecord } from "../pod-document.ts";
import { containerdOf } from "../containerd-of.ts";

/** NamespaceMode TARGET of CRI: process ids of the container that is named (`kubectl debug --target`). */
const TARGET: readonly unknown[] = [3, "TARGET"];
const SILENT = ["unavailable", "timeout", "notFound"];

/**
 * The container of the pod whose processes container `id` is to see; undefined = its own, or all of the pod's. The
 * specification names a process of the node whose PID namespace is meant, and all containers of a guest have the
 * same one: what CRI was asked for is in containerd's record. Kind `invalid` for a target that is not there.
 */
export async function processesOf(
  pod: Pick<PodContext, "deps" | "files" | "identity" | "log">,
  guest: Pick<GuestRecord, "containers">,
  container: { readonly id: string; readonly spec: JsonObject },
): Promise<string | undefined> {
  const { criConfig } = pod.deps;
  if (criConfig === undefined || !seesOthers(container.spec)) return undefined;
  const containerd = await containerdOf(pod);
  if (containerd === "") return undefined;
  const { namespace } = pod.identity;
  const config = await criConfig({ containerd, namespace, id: container.id }).catch(
    (cause: unknown) => {
      if (!SILENT.includes(kindOf(cause))) throw cause;
      // Nearly all that share are the pod's own containers, and those need no answer.
      const words = "containerd does not say whose processes a container is to see: the pod's";
      pod.log.warn({ container: container.id, err: messageOf(cause) }, words);
      return undefined;
    },
  );
  if (config === undefined) return undefined;
  const security = record(record(record(config)["linux"])["security_context"]);
  const { pid, target_id: named } = record(security["namespace_options"]);
  if (!TARGET.includes(pid)) return undefined;
  const target = text(named);
  if (guest.containers[target] !== undefined) return target;
  throw new TrineError(
    "invalid",
    `the container is to see the processes of container "${target}", which this pod does not have`,
  );
}

function seesOthers(spec: JsonObject): boolean {
  const namespaces = list(record(spec["linux"])["namespaces"]).map(record);
  return namespaces.some(({ type, path }) => type === "pid" && text(path) !== "");
}
