import { type ErrorKind, TrineError } from "@trine/base";

/** Why one field is refused (`metav1.StatusCause`). */
export interface StatusCause {
  readonly reason?: string;
  readonly message: string;
  readonly field?: string;
}

/** A failure as Kubernetes tells it (`metav1.Status`). */
export interface Status {
  readonly kind: "Status";
  readonly apiVersion: "v1";
  readonly metadata: Readonly<Record<string, never>>;
  readonly status: "Failure";
  readonly message: string;
  readonly reason: string;
  readonly code: number;
  readonly details?: {
    readonly name?: string;
    readonly group?: string;
    readonly kind?: string;
    readonly causes?: readonly StatusCause[];
    readonly retryAfterSeconds?: number;
  };
}

/** A refusal in the words that clients of KubeVirt know: message and code are part of the protocol. */
export class Refusal extends TrineError {
  readonly status: Status;

  constructor(
    kind: ErrorKind,
    said: Pick<Status, "code" | "reason" | "message" | "details">,
    options?: ErrorOptions,
  ) {
    super(kind, said.message, options);
    this.status = {
      kind: "Status",
      apiVersion: "v1",
      metadata: {},
      status: "Failure",
      ...said,
    };
  }
}

/** What is spoken of: `virtualmachine` or `virtualmachineinstance` and its name. */
export interface Subject {
  readonly kind: "virtualmachine" | "virtualmachineinstance" | "persistentvolumeclaim";
  readonly name: string;
}

const GROUP = "kubevirt.io";

function named({ kind, name }: Subject): string {
  return `${kind}.${GROUP} "${name}"`;
}

function detailsOf({ kind, name }: Subject): NonNullable<Status["details"]> {
  return { name, group: GROUP, kind };
}

/** 409, of a state that does not allow it. */
export function conflict(subject: Subject, why: string, options?: ErrorOptions): Refusal {
  const message = `Operation cannot be fulfilled on ${named(subject)}: ${why}`;
  const said = { code: 409, reason: "Conflict", message, details: detailsOf(subject) };
  return new Refusal("wrongState", said, options);
}

export function notFound(subject: Subject): Refusal {
  const message = `${named(subject)} not found`;
  const said = { code: 404, reason: "NotFound", message, details: detailsOf(subject) };
  return new Refusal("notFound", said);
}

/** 403, of an object that must not be treated so by anybody. */
export function notAllowedOn(subject: Subject, why: string): Refusal {
  const message = `${named(subject)} is forbidden: ${why}`;
  const said = { code: 403, reason: "Forbidden", message, details: detailsOf(subject) };
  return new Refusal("forbidden", said);
}

export function badRequest(
  message: string,
  causes?: readonly StatusCause[],
  options?: ErrorOptions,
): Refusal {
  const details = causes === undefined ? {} : { details: { causes } };
  return new Refusal(
    "malformed",
    { code: 400, reason: "BadRequest", message, ...details },
    options,
  );
}

/** 500 in Kubernetes' words, of a step behind us that failed. */
export function internalError(why: string, options?: ErrorOptions): Refusal {
  const message = `Internal error occurred: ${why}`;
  const details = { causes: [{ message: why }] };
  return new Refusal("internal", { code: 500, reason: "InternalError", message, details }, options);
}
