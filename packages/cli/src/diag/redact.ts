/** Names of what is nobody else's business, as they stand before a value. */
const SECRET_NAME =
  /pass(?:word|wd|phrase)?|secret|token|credential|private|api-?key|authorization|user-?data|meta-data|network-?config|cloud-?init/i;
const GONE = "<removed>";
const DATA = new Set("data stringData configMaps secrets env args command metaData".split(" "));
/** The annotations that hold no data of the user's. */
const PLAIN_ANNOTATIONS = new Set(
  [
    ...["machine", "disks", "cpus", "memory", "cpu-model", "firmware", "console", "root-size"],
    ...["guest-agent", "display", "uuid", "hostname"],
  ].map((name) => `trine.dev/${name}`),
);
/** In quotes, as a block of YAML, or after a colon to the line's end: a pass phrase has blanks. */
const VALUE = String.raw`"(?:[^"\\\n]|\\.)*"|'[^'\n]*'|[|>][-+\d]*[ \t]*\n(?:[ \t]+[^\n]*(?:\n|$))+`;
const SECRET_KEY = String.raw`(?:pass(?:word|wd|phrase)?|secret|token|credential|(?:api|private)[-_]?key)[\w.-]{0,64}\\?["']?`;
const RULES = [
  /(?<kept>)-----BEGIN [A-Z ]*PRIVATE KEY-----[^]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)/g,
  // Who is named in a URL may be a token.
  /(?<kept>\b[a-z][a-z0-9+.-]{0,30}:\/\/)[^\s/?#]*(?=@)/gi,
  new RegExp(String.raw`(?<kept>authorization\\?["']?\s*[=:]\s*)(?:${VALUE}|[^\n]+)`, "gi"),
  /(?<kept>\b(?:Bearer|Basic)\s+)[^\s<]\S*/gi,
  new RegExp(String.raw`(?<kept>${SECRET_KEY}\s*=\s*)(?:${VALUE}|[^\s,;}&]+)`, "gi"),
  new RegExp(String.raw`(?<kept>${SECRET_KEY}\s*:\s*)(?:${VALUE}|[^\n]+)`, "gi"),
] as const;

/**
 * Takes values away that may be secret: of fields with such a name, of `data` and `stringData`, of environment
 * variables, and of all annotations but those of ours that hold no data: others keep whole manifests
 * there. Lists and nesting stay.
 */
export function redactValue(value: unknown, name = ""): unknown {
  if (Array.isArray(value)) return value.map((each) => redactValue(each, name));
  if (typeof value === "object" && value !== null) {
    const isVariable = "name" in value && "value" in value;
    return Object.fromEntries(
      Object.entries(value).map(([key, inner]) => {
        const hidden = isHidden(key, name) || (isVariable && key === "value");
        return [key, hidden ? hide(inner) : redactValue(inner, key)];
      }),
    );
  }
  return typeof value === "string" ? redactText(value) : value;
}

/** Text of others: `name=value` and `name: value` with such a name, URLs with a user or password, PEM keys. */
export function redactText(text: string): string {
  return RULES.reduce((left, rule) => left.replace(rule, `$<kept>${GONE}`), text);
}

function isHidden(key: string, parent: string): boolean {
  if (DATA.has(key)) return true;
  if (parent === "annotations") return !PLAIN_ANNOTATIONS.has(key);
  return SECRET_NAME.test(key);
}

function hide(value: unknown): unknown {
  return value === undefined || value === null ? value : GONE;
}
