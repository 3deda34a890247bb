/** Sentences for the fields of an object of the schema, at a path below a kind. */
export interface FieldTexts {
  readonly kind: string;
  /** Fields with dots between them; of a list its items. */
  readonly path: string;
  /** One for each field of that object. */
  readonly texts: Readonly<Record<string, string>>;
}
