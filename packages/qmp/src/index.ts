export { QmpClient } from "./qmp-client.ts";
export type { QmpEvent } from "./qmp-client.ts";
export type { QmpCommandName, QmpCommands } from "./commands.ts";
export { fromQmpError } from "./messages.ts";
