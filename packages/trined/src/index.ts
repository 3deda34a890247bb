export { CONFIG_VERSION, DEFAULT_CONFIG_PATH } from "./config.ts";
export { configFields } from "./config-fields.ts";
export type { ConfigField } from "./config-fields.ts";
