import { TrineError } from "@trine/base";
import type { ErrorKind } from "@trine/base";
import * as v from "valibot";

/** The first line QEMU sends. */
export const greetingSchema = v.object({
  QMP: v.object({
    version: v.object({
      qemu: v.object({ major: v.number(), minor: v.number(), micro: v.number() }),
      package: v.string(),
    }),
  }),
});

const failureSchema = v.object({ class: v.string(), desc: v.string() });

/** An answer to a command; QEMU gives the id back. */
export const answerSchema = v.union([
  v.object({ id: v.union([v.number(), v.string()]), return: v.unknown() }),
  v.object({ id: v.union([v.number(), v.string()]), error: failureSchema }),
]);

export const eventSchema = v.object({
  event: v.string(),
  data: v.optional(v.record(v.string(), v.unknown()), {}),
  timestamp: v.object({ seconds: v.number(), microseconds: v.number() }),
});

/** QAPI's error classes; all that has none of its own is GenericError: QEMU refused, its words say why. */
const KIND_OF: ReadonlyMap<string, ErrorKind> = new Map<string, ErrorKind>([
  ["CommandNotFound", "unimplemented"],
  ["DeviceNotActive", "wrongState"],
  ["DeviceNotFound", "notFound"],
  ["KVMMissingCap", "unimplemented"],
  ["GenericError", "wrongState"],
]);

const MAX_DESC = 1000;

/** A refusal in the QMP form {class, desc}, which qemu-guest-agent has as well. */
export function fromQmpError(
  doing: string,
  failure: { readonly class: string; readonly desc: string },
): TrineError {
  const kind = KIND_OF.get(failure.class) ?? "wrongState";
  return new TrineError(kind, `${doing}: ${failure.desc.slice(0, MAX_DESC)} (${failure.class})`);
}
