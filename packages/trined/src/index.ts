export { CONFIG_VERSION, ConfigSchema, DEFAULT_CONFIG_PATH } from "./config.ts";
export type { Config } from "./config.ts";
