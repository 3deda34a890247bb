import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  RuntimeConditionSchema,
  StatusRequestSchema,
  RuntimeFeaturesSchema,
  StatusResponseSchema,
} from "@trine/proto/cri/api";
import type { RuntimeCondition, RuntimeFeatures, StatusResponse } from "@trine/proto/cri/api";
import { messageOf } from "@trine/base";
import type { NodeState } from "./node-state.ts";
import type { ServerCall } from "./server-call.ts";
import { itemsAt, stringAt, bytesField } from "./wire.ts";
import { isUnimplemented } from "./merged-lists.ts";

/** The condition of a back end: `BackEnd/NAME`, beside RuntimeReady and NetworkReady, which stay the default's. */
const CONDITION = "BackEnd/";

type Asked = PromiseSettledResult<StatusResponse>;

/** The default's status; handlers of all; what all can do; and how each back end is. */
export async function callStatus(node: NodeState, call: ServerCall): Promise<void> {
  const asked = await Promise.allSettled(
    node.backEnds.map(async (backEnd) => {
      const answer = await node.ask(backEnd, call.path, call.message, call);
      const status = fromBinary(StatusResponseSchema, answer);
      node.learnStatus(backEnd.name, status);
      return status;
    }),
  );
  const [first] = asked;
  if (first === undefined || first.status === "rejected") throw first?.reason;
  call.backEnd = node.defaultBackEnd.name;
  const merged = first.value;
  const answered = asked.flatMap((each) => (each.status === "fulfilled" ? [each.value] : []));
  merged.status?.conditions.push(
    ...asked.map((each, index) => conditionOf(node.backEnds[index]?.name ?? "", each)),
  );
  for (const other of answered.slice(1)) {
    const names = new Set(merged.runtimeHandlers.map(({ name }) => name));
    const added = other.runtimeHandlers.filter(({ name }) => name !== "" && !names.has(name));
    merged.runtimeHandlers.push(...added);
  }
  const features = commonFeatures(node.backEnds.map(({ name }) => node.featuresOf(name)));
  if (features !== undefined) merged.features = features;
  if (fromBinary(StatusRequestSchema, call.message).verbose) {
    merged.info["gateway"] = JSON.stringify({
      backEnds: node.backEnds.map(({ name, socket, down }) => ({ name, socket, down })),
    });
  }
  call.reply(toBinary(StatusResponseSchema, merged));
}

/** Its runtime's own readiness, or why there is no answer. */
function conditionOf(name: string, asked: Asked): RuntimeCondition {
  const type = `${CONDITION}${name}`;
  if (asked.status === "rejected") {
    const message = messageOf(asked.reason);
    return create(RuntimeConditionSchema, { type, status: false, reason: "NoAnswer", message });
  }
  const conditions = asked.value.status?.conditions ?? [];
  const wrong = conditions.find(
    (each) => ["RuntimeReady", "NetworkReady"].includes(each.type) && !each.status,
  );
  if (wrong === undefined) return create(RuntimeConditionSchema, { type, status: true });
  const { reason, message } = wrong;
  return create(RuntimeConditionSchema, { type, status: false, reason, message });
}

/**
 * Kubelet takes these for every pod of the node: claimed is what each back end can do, so a pod that needs more is refused
 * instead of run without. One that is away counts as it last was, one never seen as having none.
 */
function commonFeatures(
  all: readonly (RuntimeFeatures | undefined)[],
): RuntimeFeatures | undefined {
  if (all.every((each) => each === undefined)) return undefined;
  const every = (has: (features: RuntimeFeatures) => boolean): boolean =>
    all.every((each) => each !== undefined && has(each));
  return create(RuntimeFeaturesSchema, {
    supplementalGroupsPolicy: every((each) => each.supplementalGroupsPolicy),
    userNamespacesHostNetwork: every((each) => each.userNamespacesHostNetwork),
    mountOptions: every((each) => each.mountOptions),
  });
}

/** Descriptors of the metrics of all back ends, one of each name. */
export async function callDescriptors(node: NodeState, call: ServerCall): Promise<void> {
  const asked = await Promise.allSettled(
    node.backEnds.map((backEnd) => node.ask(backEnd, call.path, call.message, call)),
  );
  const byName = new Map<string, Buffer>();
  for (const each of asked) {
    if (each.status === "rejected") continue;
    for (const item of itemsAt(each.value, 1)) {
      if (!byName.has(stringAt(item, 1))) byName.set(stringAt(item, 1), item);
    }
  }
  const failures = asked.filter((each) => each.status === "rejected");
  const worst = failures.find((each) => !isUnimplemented(each.reason)) ?? failures[0];
  // Static: a back end that is away would only make its metrics unknown, so the call is asked again.
  if (worst !== undefined && (failures.length === asked.length || !isUnimplemented(worst.reason))) {
    throw worst.reason;
  }
  call.reply(Buffer.concat([...byName.values()].map((item) => bytesField(1, item))));
}

/** Every back end is told; the first failure, in the order of the configuration, is the call's. */
export async function callBroadcast(node: NodeState, call: ServerCall): Promise<void> {
  const asked = await Promise.allSettled(
    node.backEnds.map((backEnd) => backEnd.unary(call.path, call.message, call.options)),
  );
  for (const each of asked) if (each.status === "rejected") throw each.reason;
  const [first] = asked;
  call.reply(first?.status === "fulfilled" ? first.value : Buffer.alloc(0));
}
