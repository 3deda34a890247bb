/** More of a value than this is not repeated. */
export const SHOWN_CHARACTERS = 80;

export interface AnnotationProblem {
  readonly key: string;
  /** As it was given, quoted and escaped, at most 80 characters; only its size for secret ones. */
  readonly value: string;
  readonly why: string;
  /** What would be accepted, or what to use instead. */
  readonly allowed?: string;
  /** The key that was probably meant. */
  readonly suggestion?: string;
}

/** A value as messages show it. */
export function shown(text: string, secret?: true): string {
  if (secret === true) return `(${Buffer.byteLength(text)} bytes)`;
  const quoted = JSON.stringify(text.trim().slice(0, SHOWN_CHARACTERS));
  return quoted.length <= SHOWN_CHARACTERS ? quoted : `${quoted.slice(0, SHOWN_CHARACTERS - 1)}…`;
}
