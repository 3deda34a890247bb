import { DEVICE_TEXTS } from "./devices.ts";
import { INSTANCE_TEXTS } from "./instance.ts";
import { MACHINE_TEXTS } from "./machine.ts";
import { VOLUME_TEXTS } from "./volumes.ts";

/** Sentences for the fields of an object of the schema, at a path below a kind. */
export interface FieldTexts {
  readonly kind: string;
  /** Fields with dots between them; of a list its items. */
  readonly path: string;
  /** One for each field of that object. */
  readonly texts: Readonly<Record<string, string>>;
}

/** Where another kind has the same object, it has the same sentences. */
export const FIELD_TEXTS: readonly FieldTexts[] = [
  ...MACHINE_TEXTS,
  ...INSTANCE_TEXTS,
  ...DEVICE_TEXTS,
  ...VOLUME_TEXTS,
];
