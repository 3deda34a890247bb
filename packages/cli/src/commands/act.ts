/** What a command came to; nothing = 0. */
type Outcome = Promise<number | undefined> | Promise<void>;
/** Makes a commander action of a command. */
export type Act = <A extends unknown[]>(
  command: (...args: A) => Outcome,
) => (...args: A) => Promise<void>;
