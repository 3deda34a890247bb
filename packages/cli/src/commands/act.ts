/** What a command came to; nothing = 0, or 130 after ^C; `done` = 0 though ^C came, too late to undo what was made. */
type Outcome = Promise<number | "done" | undefined> | Promise<void>;
/** Makes a commander action of a command. */
export type Act = <A extends unknown[]>(
  command: (...args: A) => Outcome,
) => (...args: A) => Promise<void>;
