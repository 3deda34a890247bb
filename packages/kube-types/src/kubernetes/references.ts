import { int64, needed, object, oneOf, string, time } from "../schema/schema.ts";

export const localObjectReference = object({ name: string({ default: "" }) });

export const typedLocalObjectReference = object({
  apiGroup: string(),
  kind: needed(string()),
  name: needed(string()),
});

export const typedObjectReference = object({
  apiGroup: string(),
  kind: needed(string()),
  name: needed(string()),
  namespace: string(),
});

export const metaCondition = object({
  type: needed(
    string({
      pattern:
        "^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$",
      maxLength: 316,
    }),
  ),
  status: needed(oneOf(["True", "False", "Unknown"])),
  observedGeneration: int64({ minimum: 0 }),
  lastTransitionTime: needed(time()),
  reason: needed(
    string({
      pattern: "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
      minLength: 1,
      maxLength: 1024,
      example: "Because",
    }),
  ),
  message: needed(string({ maxLength: 32768 })),
});
