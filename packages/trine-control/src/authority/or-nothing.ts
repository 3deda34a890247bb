import { kindOf } from "@trine/base";

/** Undefined for a failure of that kind; any other stays one. */
export function orNothing(kind: "notFound" | "alreadyExists"): (cause: unknown) => undefined {
  return (cause) => {
    if (kindOf(cause) !== kind) throw cause;
  };
}
