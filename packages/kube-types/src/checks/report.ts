/** Why a field is refused, in the words of Kubernetes' `metav1.CauseType`. */
export type Reason =
  | "FieldValueRequired"
  | "FieldValueInvalid"
  | "FieldValueNotSupported"
  | "FieldValueDuplicate"
  | "FieldValueNotFound"
  | "FieldValueTypeInvalid"
  | "FieldValueTooMany"
  | "FieldValueForbidden";

/** One fault of an object: the field's exact path, as `spec.volumes[1].name`. */
export interface Cause {
  readonly reason: Reason;
  readonly message: string;
  readonly field: string;
}

/** More than these are counted, not kept: an object may have as many faults as it has bytes. */
const MAX_KEPT = 200;

/** The faults of one object, in the order in which they were found. */
export class Report {
  readonly #causes: Cause[] = [];
  #count = 0;

  get causes(): readonly Cause[] {
    return this.#causes;
  }

  /** All of them, also those that are not kept. */
  get count(): number {
    return this.#count;
  }

  /** `message` goes on after the field's path. */
  add(reason: Reason, field: string, message: string): void {
    this.#count += 1;
    if (this.#causes.length < MAX_KEPT) {
      this.#causes.push({ reason, field, message: `${field} ${message}` });
    }
  }

  required(field: string, message = "is required"): void {
    this.add("FieldValueRequired", field, message);
  }

  invalid(field: string, message: string): void {
    this.add("FieldValueInvalid", field, message);
  }

  duplicate(field: string, message: string): void {
    this.add("FieldValueDuplicate", field, message);
  }

  /** A value that is none of those which have a meaning. */
  unsupported(field: string, value: unknown, supported: Iterable<string>): void {
    const values = [...supported].map((each) => `"${each}"`).join(", ");
    const message = `is ${shown(value)}, which is not supported; supported are ${values}`;
    this.add("FieldValueNotSupported", field, message);
  }
}

const MAX_SHOWN = 80;

/** A value for a message: short, and one line. */
export function shown(value: unknown): string {
  if (value === undefined || typeof value === "bigint") return String(value);
  const text = JSON.stringify(value);
  return text.length <= MAX_SHOWN ? text : `${text.slice(0, MAX_SHOWN)}…`;
}
