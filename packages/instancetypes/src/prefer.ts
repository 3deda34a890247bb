type Fields = Readonly<Record<string, unknown>>;

/** What may be said of T, and what may be left open. */
type Open<T> = { readonly [K in keyof T]?: T[K] | undefined };

/** `of` with `preferred` where it says nothing, or empty text. What is not preferred stays open. */
export function prefer<T extends object>(of: T, preferred: Open<T>): T {
  const said = of as Fields;
  const added = Object.entries(preferred as Fields).filter(
    ([name, value]) => value !== undefined && (said[name] === undefined || said[name] === ""),
  );
  return added.length === 0 ? of : { ...of, ...(Object.fromEntries(added) as Partial<T>) };
}

/** The fields that are there. */
export function given<T extends object>(fields: Open<T>): Partial<T> {
  const entries = Object.entries(fields as Fields).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as Partial<T>;
}

/** All of `of` but these fields. */
export function without<T extends object, K extends keyof T & string>(
  of: T,
  ...names: readonly K[]
): Omit<T, K> {
  const left = Object.entries(of).filter(([name]) => !names.some((each) => each === name));
  return Object.fromEntries(left) as Omit<T, K>;
}
