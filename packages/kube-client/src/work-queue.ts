/** What a reconciler says when it is done: nothing more, or again after a while. */
export type Outcome = "settled" | { readonly afterMs: number };

export type Reconcile = (key: string, signal: AbortSignal) => Promise<Outcome>;
