export { keepPlugin } from "./keep-plugin.ts";
export type { KeptPlugin } from "./keep-plugin.ts";
export type { AddedMount, NriLog, NriPlugin } from "./plugin-calls.ts";
