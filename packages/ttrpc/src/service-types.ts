import type {
  DescMessage,
  DescMethod,
  DescService,
  MessageInitShape,
  MessageShape,
} from "@bufbuild/protobuf";

export interface CallContext {
  /** Aborts at the deadline, when the server closes and, unless switched off, when the client is gone. */
  readonly signal: AbortSignal;
  /** Keys in lower case; the first value of a repeated key. */
  readonly metadata: ReadonlyMap<string, string>;
  readonly deadline: Date | undefined;
}

export interface CallOptions {
  /** Gives up waiting; the server is not told (ttrpc has no cancel). */
  readonly signal?: AbortSignal;
  /** Kind `timeout` after that long; the server gets the same deadline. */
  readonly timeoutMs?: number;
  readonly metadata?: Readonly<Record<string, string>>;
}

type Input<M> = M extends { input: infer I extends DescMessage } ? I : never;
type Output<M> = M extends { output: infer O extends DescMessage } ? O : never;
type Methods<S extends DescService> = S extends {
  method: infer M extends Record<string, DescMethod>;
}
  ? M
  : never;

/** Handlers of a service by method; one that is left out answers Unimplemented. */
export type ServiceHandlers<S extends DescService> = {
  readonly [K in keyof Methods<S>]?: (
    request: MessageShape<Input<Methods<S>[K]>>,
    context: CallContext,
  ) => Promise<MessageInitShape<Output<Methods<S>[K]>>>;
};

/** Typed calls of a service; a failed call rejects with a TrineError of the kind the server gave. */
export type ServiceClient<S extends DescService> = {
  readonly [K in keyof Methods<S>]: (
    request: MessageInitShape<Input<Methods<S>[K]>>,
    options?: CallOptions,
  ) => Promise<MessageShape<Output<Methods<S>[K]>>>;
};
