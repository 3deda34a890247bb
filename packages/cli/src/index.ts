export { EXIT_CODES, table } from "./io.ts";
