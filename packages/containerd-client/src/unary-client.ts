import {
  type DescMessage,
  type DescMethodUnary,
  type DescService,
  type MessageInitShape,
  type MessageShape,
  create,
  fromBinary,
  toBinary,
} from "@bufbuild/protobuf";
import { type GrpcChannel, type GrpcHeaders } from "./grpc-channel.ts";

export interface CallOptions {
  /** Milliseconds until the call fails with kind `timeout`; default 120000. */
  timeoutMs?: number;
  signal?: AbortSignal;
}

type Unary<M> = M extends {
  readonly methodKind: "unary";
  readonly input: infer I extends DescMessage;
  readonly output: infer O extends DescMessage;
}
  ? (request: MessageInitShape<I>, options?: CallOptions) => Promise<MessageShape<O>>
  : never;

/** One function per unary method of a service: camel-case name, request as plain object. */
export type UnaryClient<S extends DescService> = {
  readonly [K in keyof S["method"]]: Unary<S["method"][K]>;
};

export function createUnaryClient<S extends DescService>(
  channel: GrpcChannel,
  service: S,
  headers: GrpcHeaders = {},
): UnaryClient<S> {
  const methods = service.methods
    .filter((method): method is DescMethodUnary => method.methodKind === "unary")
    .map((method) => [
      method.localName,
      (request: MessageInitShape<DescMessage>, options: CallOptions = {}) =>
        call(channel, method, request, { ...options, headers }),
    ]);
  return Object.fromEntries(methods) as UnaryClient<S>;
}

async function call(
  channel: GrpcChannel,
  method: DescMethodUnary,
  request: MessageInitShape<DescMessage>,
  options: CallOptions & { headers: GrpcHeaders },
): Promise<MessageShape<DescMessage>> {
  const { signal, timeoutMs = 120_000, headers } = options;
  const answer = await channel.call({
    path: `/${method.parent.typeName}/${method.name}`,
    name: method.name,
    request: toBinary(method.input, create(method.input, request)),
    timeoutMs,
    signal,
    headers,
  });
  return fromBinary(method.output, answer);
}
