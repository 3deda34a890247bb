import { stringify } from "yaml";
import type { Config } from "./config.ts";

/** As the file that says the same. */
export function printConfig(config: Config): string {
  return stringify(config);
}
