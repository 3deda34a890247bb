import { type MessageInitShape } from "@bufbuild/protobuf";
import { type OnRequest, kindOf, observed } from "@trine/base";
import {
  type AttachRequestSchema,
  type ExecRequestSchema,
  ImageService,
  RuntimeService,
} from "@trine/proto/cri/api";
import { GrpcChannel } from "./grpc-channel.ts";
import { type PortForward, openPortForward } from "./port-forward.ts";
import { type RemoteCommand, openRemoteCommand } from "./remote-command.ts";
import { type CallOptions, type UnaryClient, createUnaryClient } from "./unary-client.ts";

/** ExecSync answers up to 16 MiB on each of two streams. */
const MAX_MESSAGE_BYTES = 40 * 1024 * 1024;

/** A CRI v1 server (containerd, CRI-O) on a unix socket. */
export interface CriClient {
  readonly runtime: UnaryClient<typeof RuntimeService>;
  readonly images: UnaryClient<typeof ImageService>;
  /** Exec with streams; a tty's stderr is part of its stdout. */
  exec(
    request: MessageInitShape<typeof ExecRequestSchema>,
    options?: CallOptions,
  ): Promise<RemoteCommand>;
  attach(
    request: MessageInitShape<typeof AttachRequestSchema>,
    options?: CallOptions,
  ): Promise<RemoteCommand>;
  portForward(podSandboxId: string, options?: CallOptions): Promise<PortForward>;
  close(): void;
}

/** Connects at the first call; calls fail with kind `unavailable` while nobody listens on the socket. */
export function createCriClient(socket: string, onRequest?: OnRequest): CriClient {
  const channel = new GrpcChannel(socket, MAX_MESSAGE_BYTES, onRequest);
  const runtime = createUnaryClient(channel, RuntimeService);
  // The path is what lets one in: it is not told.
  const opened = <T>(url: string, open: () => Promise<T>): Promise<T> =>
    observed(onRequest, { method: "POST", target: new URL(url).origin }, open, {
      done: () => ({ status: "open" }),
      failed: kindOf,
    });
  return {
    runtime,
    images: createUnaryClient(channel, ImageService),
    async exec(request, options) {
      const { url } = await runtime.exec(request, options);
      return opened(url, () => openRemoteCommand(url, streamsOf(request), options));
    },
    async attach(request, options) {
      const { url } = await runtime.attach(request, options);
      return opened(url, () => openRemoteCommand(url, streamsOf(request), options));
    },
    async portForward(podSandboxId, options) {
      const { url } = await runtime.portForward({ podSandboxId }, options);
      return opened(url, () => openPortForward(url, options));
    },
    close() {
      channel.close();
    },
  };
}

function streamsOf(request: {
  stdin?: boolean;
  stdout?: boolean;
  stderr?: boolean;
  tty?: boolean;
}): { stdin: boolean; stdout: boolean; stderr: boolean; tty: boolean } {
  const { stdin = false, stdout = false, stderr = false, tty = false } = request;
  return { stdin, stdout, stderr, tty };
}
