/** A file or directory on a volume of the machine's container. */
export interface SeedSource {
  /** In the container. */
  readonly path: string;
  /** Of a ConfigMap or Secret that was named instead: what its volume is to be mounted at. */
  readonly named?: { readonly kind: "configmap" | "secret"; readonly name: string };
}

/** What is meant for one user of the guest. */
export interface UserSource {
  readonly user: string;
  readonly from: SeedSource;
}

/** Linux' users and Windows', with neither the marks of our annotation nor those of a line of passwd. */
const USER = /^[A-Za-z0-9_][A-Za-z0-9_.@\\-]{0,63}$/;

/** Where a ConfigMap or Secret that an annotation names is mounted in the machine's container. */
const HOME = "/trine.dev";
const MAX_PATH = 4095;
/** As the API server wants them: a DNS subdomain, and a key of a ConfigMap. */
const NAME = /^(?=.{1,253}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/;
const KEY = /^(?!\.\.?$)[A-Za-z0-9._-]{1,253}$/;

/** Reads `/path`, `configmap/NAME[/KEY]` or `secret/NAME[/KEY]`; undefined for anything else. */
export function parseSource(text: string): SeedSource | undefined {
  if (text.startsWith("/")) {
    const isPlain = text.length <= MAX_PATH && !/[\0-\x1f\x7f]|(^|\/)\.\.?(\/|$)|\/\//.test(text); // eslint-disable-line no-control-regex -- those are what is refused
    return isPlain && text !== "/" ? { path: text.replace(/\/$/, "") } : undefined;
  }
  const [given = "", name = "", ...rest] = text.split("/");
  const kind = given.toLowerCase(); // as Virtlet takes it
  if (kind !== "configmap" && kind !== "secret") return undefined;
  const [key, ...more] = rest;
  if (!NAME.test(name) || more.length > 0 || (key !== undefined && !KEY.test(key))) {
    return undefined;
  }
  const home = `${HOME}/${kind}/${name}`;
  return { path: key === undefined ? home : `${home}/${key}`, named: { kind, name } };
}

export function isGuestUser(text: string): boolean {
  return USER.test(text);
}

/** Reads `USER=source`; undefined for anything else. */
export function parseUserSource(text: string): UserSource | undefined {
  const at = text.indexOf("=");
  const user = text.slice(0, Math.max(0, at));
  const from = at < 0 || !isGuestUser(user) ? undefined : parseSource(text.slice(at + 1));
  return from === undefined ? undefined : { user, from };
}
