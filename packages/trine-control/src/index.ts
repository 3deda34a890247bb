export { runControl } from "./run-control.ts";
export { readArguments } from "./config.ts";
export type { Config } from "./config.ts";
