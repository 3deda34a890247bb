export { ERROR_KINDS, TrineError, kindOf, messageOf } from "./trine-error.ts";
export type { ErrorKind } from "./trine-error.ts";
export { SerialQueue } from "./serial-queue.ts";
export { Undo } from "./undo.ts";
export { pollUntil, sleep, withDeadline } from "./deadline.ts";
export { abortError, abortable } from "./abortable.ts";
export { errnoOf } from "./errno-of.ts";
export { quote } from "./quote.ts";
export { isFileAt, lockFile } from "./lock-file.ts";
