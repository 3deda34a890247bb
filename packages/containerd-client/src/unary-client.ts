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
import { TrineError } from "@trine/base";
import { type Client, Metadata } from "@grpc/grpc-js";
import { toTrineError } from "./grpc-error.ts";

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
  channel: Client,
  service: S,
): UnaryClient<S> {
  const methods = service.methods
    .filter((method): method is DescMethodUnary => method.methodKind === "unary")
    .map((method) => [
      method.localName,
      (request: MessageInitShape<DescMessage>, options: CallOptions = {}) =>
        call(channel, method, request, options),
    ]);
  return Object.fromEntries(methods) as UnaryClient<S>;
}

function call(
  channel: Client,
  method: DescMethodUnary,
  request: MessageInitShape<DescMessage>,
  options: CallOptions,
): Promise<MessageShape<DescMessage>> {
  const { signal, timeoutMs = 120_000 } = options;
  return new Promise((resolve, reject) => {
    if (signal?.aborted === true) {
      reject(new TrineError("canceled", `${method.name}: canceled before it was sent`));
      return;
    }
    const abort = (): void => {
      active.cancel();
    };
    const active = channel.makeUnaryRequest(
      `/${method.parent.typeName}/${method.name}`,
      (message: MessageShape<DescMessage>) => Buffer.from(toBinary(method.input, message)),
      (bytes) => fromBinary(method.output, bytes),
      create(method.input, request),
      new Metadata(),
      { deadline: Date.now() + timeoutMs },
      (error, answer) => {
        signal?.removeEventListener("abort", abort);
        if (error) reject(toTrineError(method.name, error));
        else if (answer === undefined)
          reject(new TrineError("internal", `${method.name}: empty answer`));
        else resolve(answer);
      },
    );
    signal?.addEventListener("abort", abort, { once: true });
  });
}
