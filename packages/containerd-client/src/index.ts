export { createCriClient } from "./cri-client.ts";
export type { CriClient } from "./cri-client.ts";
export type { CallOptions, UnaryClient } from "./unary-client.ts";
export { openRemoteCommand } from "./remote-command.ts";
export type { RemoteCommand, RemoteStreams } from "./remote-command.ts";
export { openPortForward } from "./port-forward.ts";
export type { PortForward } from "./port-forward.ts";
export { importImage } from "./import-image.ts";
export type { ImportImageOptions } from "./import-image.ts";
