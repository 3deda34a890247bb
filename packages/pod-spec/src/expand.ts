/**
 * Kubernetes' `$(NAME)` in texts: a known name is replaced, an unknown one stays as it is, `$$` is a
 * `$` that is none of this (third_party/forked/golang/expansion).
 */
export function expand(input: string, lookup: (name: string) => string | undefined): string {
  return input.replaceAll(/\$(?:\$|\(([^)]*)\))/g, (whole, name: string | undefined) =>
    name === undefined ? "$" : (lookup(name) ?? whole),
  );
}
