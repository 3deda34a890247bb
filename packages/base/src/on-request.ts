/** A request to another program. Never what is in it: neither bodies nor secrets, nor the query of a URL. */
export interface RequestBegun {
  readonly method: string;
  /** Who is asked, and for what. */
  readonly target: string;
  readonly sentBytes?: number;
}

export interface RequestEnded {
  /** The protocol's own word: an HTTP status, a kind of error, `ok`. */
  readonly status: string;
  readonly receivedBytes?: number;
}

/** Hears of requests: of each when it is sent, and by what this answers when it is over, once. */
export type OnRequest = (begun: RequestBegun) => ((ended: RequestEnded) => void) | undefined;

/** Tells of a request for as long as `work` goes on; `statusOf` says how one that failed ended. */
export async function observed<T>(
  onRequest: OnRequest | undefined,
  begun: RequestBegun,
  work: () => Promise<T>,
  of: {
    readonly done: (result: T) => RequestEnded;
    readonly failed: (cause: unknown) => string;
  },
): Promise<T> {
  const ended = onRequest?.(begun);
  if (ended === undefined) return work();
  try {
    const result = await work();
    ended(of.done(result));
    return result;
  } catch (cause) {
    ended({ status: of.failed(cause) });
    throw cause;
  }
}
