import { messageOf } from "@trine/base";
import { empty } from "../http/answer.ts";
import { decodeBody } from "../http/decode-body.ts";
import { badRequest, internalError } from "../refusals/refusal.ts";
import type { Handle } from "./call.ts";
import { INSTANCES, instanceOf } from "./objects.ts";
import { evacuateCancelOptions, isDryRun } from "./options.ts";

const NODE = "/status/evacuationNodeName";

/** Takes back that a machine is to leave its node, if it still is the node that the caller means. */
export const evacuateCancel: Handle = async (deps, { target, body, signal }) => {
  const { namespace, name } = target;
  const instance = await instanceOf(deps, target, signal);
  if ((instance.status?.evacuationNodeName ?? "") === "") return empty(200);
  if (body.length === 0) throw badRequest("No body");
  const options = decodeBody(body, evacuateCancelOptions);
  const operations = [
    { op: "test", path: NODE, value: options.evacuationNodeName ?? "" },
    { op: "remove", path: NODE },
  ] as const;
  const write = { dryRun: isDryRun(options.dryRun), signal };
  await deps.kube
    .patch(INSTANCES, { namespace, name }, operations, write)
    .catch((cause: unknown) => {
      throw internalError(messageOf(cause), { cause });
    });
  return empty(200);
};
