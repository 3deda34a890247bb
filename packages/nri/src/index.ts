export { keepPlugin } from "./keep-plugin.ts";
export type { KeptPlugin, NriPlugin } from "./keep-plugin.ts";
