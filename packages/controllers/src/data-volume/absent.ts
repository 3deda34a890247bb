import { kindOf } from "@trine/base";

/** What is not there is undefined; any other failure stays one. */
export function absent(cause: unknown): undefined {
  if (kindOf(cause) !== "notFound") throw cause;
  return undefined;
}
