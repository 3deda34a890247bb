export { AGENT_PROTOCOL, AgentClient } from "./agent-client.ts";
export type { GuestProcess } from "./agent-client.ts";
export { AgentVoice } from "./agent-voice.ts";
export { GuestAgent } from "./guest-agent.ts";
export type { ExecStatus, GuestCommand, GuestInterface, GuestOs } from "./guest-agent.ts";
export type { GuestFileSystem, GuestTimezone, GuestUser } from "./guest-says.ts";
export type { GuestVoice, Thawed } from "./guest-voice.ts";
export type { RequestOptions } from "./agent-link.ts";
