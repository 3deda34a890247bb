import type { Proof } from "./proof.ts";

/** Fields of a kind that are spoken of together. */
export interface FieldGroup {
  readonly title: string;
  /** Paths below the object, `[]` for items of lists; each stands for what is below it and in no longer path of another group. */
  readonly fields: readonly string[];
  /** None: nothing follows any of them. */
  readonly proofs: readonly Proof[];
  /** Of groups whose inert fields the controllers' table does not name: what is so instead. */
  readonly but?: string;
  /** They are said no to: what the refusal says. */
  readonly refused?: string;
}

export function group(
  title: string,
  fields: readonly string[],
  proofs: readonly Proof[],
  more: Pick<FieldGroup, "but" | "refused"> = {},
): FieldGroup {
  return { title, fields, proofs, ...more };
}
