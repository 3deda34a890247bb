import { TrineError, quote } from "@trine/base";

type Labels = Readonly<Record<string, string>>;
export type Selector = (labels: Labels) => boolean;

const MAX_LENGTH = 4096;
const KEY = String.raw`[A-Za-z0-9](?:[-A-Za-z0-9_./]*[A-Za-z0-9])?`;
const VALUE = String.raw`(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?)?`;
const SET = new RegExp(String.raw`^(${KEY}) +(in|notin) *\(([^()]*)\)$`);
const EQUAL = new RegExp(String.raw`^(${KEY}) *(==|=|!=) *(${VALUE})$`);
const EXISTS = new RegExp(String.raw`^(!?) *(${KEY})$`);
const WORD = new RegExp(`^${VALUE}$`);

/** Kubernetes' label selectors: `a=b,c!=d,e in (f,g),h notin (i),j,!k`. Kind `invalid` for others. */
export function parseSelector(text: string): Selector {
  if (text.length > MAX_LENGTH) throw new TrineError("invalid", "the selector is too long");
  // A comma within parentheses belongs to a set.
  const terms = text.split(/,(?![^(]*\))/).map((term) => toTerm(term.trim()));
  return (labels) => terms.every((term) => term(labels));
}

function toTerm(term: string): Selector {
  const equal = EQUAL.exec(term);
  if (equal !== null) {
    const [, key = "", operator, value] = equal;
    const wanted = operator !== "!=";
    return (labels) => (own(labels, key) === value) === wanted;
  }
  const set = SET.exec(term);
  if (set !== null) {
    const [, key = "", operator, list = ""] = set;
    const values = list.split(",").map((value) => value.trim());
    if (!values.every((value) => WORD.test(value))) throw bad(term);
    return (labels) => {
      const value = own(labels, key);
      return (value !== undefined && values.includes(value)) === (operator === "in");
    };
  }
  const exists = EXISTS.exec(term);
  if (exists === null) throw bad(term);
  const [, not, key = ""] = exists;
  return (labels) => (own(labels, key) !== undefined) === (not === "");
}

function own(labels: Labels, key: string): string | undefined {
  return Object.hasOwn(labels, key) ? labels[key] : undefined;
}

function bad(term: string): TrineError {
  const forms = "KEY=VALUE, KEY!=VALUE, KEY in (A,B), KEY notin (A), KEY, !KEY";
  return new TrineError("invalid", `selector ${quote(term)}: there are ${forms}`);
}
