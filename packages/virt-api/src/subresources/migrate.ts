import { messageOf } from "@trine/base";
import { StatusError, resourceOf } from "@trine/kube-client";
import { VIRTUAL_MACHINE_INSTANCE_MIGRATION } from "@trine/kube-types";
import { empty } from "../http/answer.ts";
import { decodeBody } from "../http/decode-body.ts";
import { conflict, internalError } from "../refusals/refusal.ts";
import type { Handle } from "./call.ts";
import { aboutMachine, getInstance, getMachine } from "./objects.ts";
import { isDryRun, migrateOptions } from "./options.ts";

export const MIGRATIONS = resourceOf(VIRTUAL_MACHINE_INSTANCE_MIGRATION);

/** Writes the wish down; whether the machine can move is judged where such a wish is admitted. */
export const migrate: Handle = async ({ kube, ...deps }, { target, body, signal }) => {
  const { namespace, name } = target;
  const options = decodeBody(body, migrateOptions);
  const dryRun = isDryRun(options.dryRun);
  await getMachine({ kube, ...deps }, target, signal);
  const instance = await getInstance({ kube, ...deps }, target, signal);
  if (instance.status?.phase !== "Running") {
    throw conflict(aboutMachine(name), "VM is not running");
  }
  const selector = options.addedNodeSelector ?? undefined;
  const migration = {
    apiVersion: "kubevirt.io/v1",
    kind: "VirtualMachineInstanceMigration",
    metadata: { namespace, generateName: "kubevirt-migrate-vm-" },
    spec: { vmiName: name, ...(selector !== undefined && { addedNodeSelector: selector }) },
  };
  await kube.create(MIGRATIONS, migration, { dryRun, signal }).catch((cause: unknown) => {
    // Whoever asked for it did not ask for our request.
    const why = cause instanceof StatusError ? cause.status.message : messageOf(cause);
    throw internalError(why, { cause });
  });
  return empty(202);
};
