import { DEVICE_TEXTS } from "./devices.ts";
import type { FieldTexts } from "./field-texts.ts";
import { INSTANCE_TEXTS } from "./instance.ts";
import { MACHINE_TEXTS } from "./machine.ts";
import { VOLUME_TEXTS } from "./volumes.ts";

/** Where another kind has the same object, it has the same sentences. */
export const FIELD_TEXTS: readonly FieldTexts[] = [
  ...MACHINE_TEXTS,
  ...INSTANCE_TEXTS,
  ...DEVICE_TEXTS,
  ...VOLUME_TEXTS,
];
