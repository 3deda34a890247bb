import { createHmac, randomBytes } from "node:crypto";

/** What the users of a guest are to have. */
export interface WantedCredentials {
  readonly keys: ReadonlyMap<string, readonly string[]>;
  readonly passwords: ReadonlyMap<string, string>;
}

type KeysOfUsers = Readonly<Record<string, readonly string[]>>;

/** What was given to them, as it is noted: a later daemon takes away what is gone, and sets no password twice. */
export interface GivenCredentials {
  readonly keys: KeysOfUsers;
  /** Those that it was begun to give: they may be there. */
  readonly begun: KeysOfUsers;
  /** Digests: the password itself is in its volume alone. */
  readonly passwords: Readonly<Record<string, string>>;
  /** Of those digests, in hexadecimal digits. */
  readonly salt: string;
}

type CredentialStep =
  | {
      readonly do: "addKeys" | "removeKeys";
      readonly user: string;
      readonly keys: readonly string[];
    }
  | { readonly do: "setPassword"; readonly user: string; readonly password: string };

export function noneGiven(): GivenCredentials {
  return { keys: {}, begun: {}, passwords: {}, salt: randomBytes(32).toString("hex") };
}

/** What is to be done; `anew`: keys that were given are given again, for the guest may have lost them. */
export function credentialSteps(
  { keys, passwords }: WantedCredentials,
  given: GivenCredentials,
  anew: boolean,
): readonly CredentialStep[] {
  const users = [
    ...new Set([...keys.keys(), ...Object.keys(given.keys), ...Object.keys(given.begun)]),
  ];
  const ofKeys = users.flatMap((user): CredentialStep[] => {
    const wanted = keys.get(user) ?? [];
    const has = keysOf(given.keys, user);
    const added = anew ? wanted : wanted.filter((key) => !has.includes(key));
    const maybe = [...new Set([...has, ...keysOf(given.begun, user)])];
    const removed = maybe.filter((key) => !wanted.includes(key));
    return [
      ...(added.length === 0 ? [] : [{ do: "addKeys" as const, user, keys: added }]),
      ...(removed.length === 0 ? [] : [{ do: "removeKeys" as const, user, keys: removed }]),
    ];
  });
  const ofPasswords = [...passwords].flatMap(([user, password]): CredentialStep[] =>
    passwordOf(given, user) === digestOf(given, user, password)
      ? []
      : [{ do: "setPassword", user, password }],
  );
  return [...ofKeys, ...ofPasswords];
}

/**
 * What is to be noted before a step is done: keys that may be in the guest from now on. A password that is set twice does no
 * harm, one that is noted and was never set would.
 */
export function before(given: GivenCredentials, step: CredentialStep): GivenCredentials {
  if (step.do !== "addKeys") return given;
  const { user, keys } = step;
  const isNew = keys.filter((key) => !keysOf(given.keys, user).includes(key));
  return { ...given, begun: withKeys(given.begun, user, isNew) };
}

export function after(given: GivenCredentials, step: CredentialStep): GivenCredentials {
  const { user } = step;
  if (step.do === "setPassword") {
    const digest = digestOf(given, user, step.password);
    return { ...given, passwords: { ...given.passwords, [user]: digest } };
  }
  const begun = withoutKeys(given.begun, user, step.keys);
  const keys = step.do === "addKeys" ? withKeys : withoutKeys;
  return { ...given, begun, keys: keys(given.keys, user, step.keys) };
}

function withKeys(of: KeysOfUsers, user: string, keys: readonly string[]): KeysOfUsers {
  const all = [...new Set([...keysOf(of, user), ...keys])];
  return all.length === 0 ? of : { ...of, [user]: all };
}

function withoutKeys(of: KeysOfUsers, user: string, keys: readonly string[]): KeysOfUsers {
  const left = keysOf(of, user).filter((key) => !keys.includes(key));
  const others = Object.entries(of).filter(([name]) => name !== user);
  return Object.fromEntries(left.length === 0 ? others : [...others, [user, left]]);
}

function keysOf(of: KeysOfUsers, user: string): readonly string[] {
  return Object.hasOwn(of, user) ? (of[user] ?? []) : [];
}

function passwordOf({ passwords }: GivenCredentials, user: string): string | undefined {
  return Object.hasOwn(passwords, user) ? passwords[user] : undefined;
}

function digestOf({ salt }: GivenCredentials, user: string, password: string): string {
  return createHmac("sha256", salt).update(`${user}\0${password}`).digest("hex");
}
