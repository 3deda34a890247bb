/** The system's code of the first error in the chain of causes that has one, as in `ENOENT`. */
export function errnoOf(cause: unknown): string | undefined {
  for (let error = cause; error instanceof Error; error = error.cause) {
    if ("code" in error && typeof error.code === "string") return error.code;
  }
  return undefined;
}
