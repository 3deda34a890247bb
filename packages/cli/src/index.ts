export { EXIT_CODES } from "./io.ts";
export type { Io } from "./io.ts";
export { runTrine } from "./program.ts";
