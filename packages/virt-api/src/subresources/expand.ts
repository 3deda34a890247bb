import { messageOf } from "@trine/base";
import { Report, type VirtualMachine, checkShape, VIRTUAL_MACHINE } from "@trine/kube-types";
import { json } from "../http/answer.ts";
import { badRequest, internalError } from "../refusals/refusal.ts";
import { parseBody } from "../http/decode-body.ts";
import type { Handle } from "./call.ts";
import { getMachine } from "./objects.ts";

/** A stored machine as it is with its instance type and preference. */
export const expandSpec: Handle = async (deps, { target, signal }) => {
  const machine = await getMachine(deps, target, signal);
  const expanded = await deps.expand(machine, signal).catch((cause: unknown) => {
    throw internalError(messageOf(cause), { cause });
  });
  return json(expanded);
};

/** The same of a machine that is sent. */
export const expandVmSpec: Handle = async (deps, { target, body, signal }) => {
  const { namespace } = target;
  const sent = parseBody(body);
  if (sent === undefined) throw badRequest("empty request body");
  const report = new Report();
  checkShape(VIRTUAL_MACHINE.schema.node, sent, "", report);
  if (report.count > 0) {
    throw badRequest("Object is not a valid VirtualMachine", report.causes);
  }
  const machine = sent as VirtualMachine;
  const own = machine.metadata?.namespace ?? "";
  if (own !== "" && own !== namespace) {
    throw badRequest(`VM namespace must be empty or ${namespace}`);
  }
  const placed = { ...machine, metadata: { ...machine.metadata, namespace } };
  const expanded = await deps.expand(placed, signal).catch((cause: unknown) => {
    throw badRequest(messageOf(cause), undefined, { cause });
  });
  return json({ apiVersion: "kubevirt.io/v1", kind: "VirtualMachine", ...expanded });
};
