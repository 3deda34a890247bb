export { QmpClient } from "./qmp-client.ts";
export type { QmpEvent } from "./qmp-client.ts";
export type { QmpCommandName, QmpCommands } from "./commands.ts";
export { JsonLines } from "./json-lines.ts";
export type { JsonLine, JsonLinesLimits } from "./json-lines.ts";
export { fromQmpError } from "./messages.ts";
