/** Names of what is nobody else's business, as they stand before a value. */
const SECRET_NAME =
  /pass(?:word|wd|phrase)?|secret|token|credential|private|api-?key|authorization|user-?data/i;
const GONE = "<removed>";

/**
 * Takes values away that may be secret: of fields with such a name, of `data` and `stringData`, of environment
 * variables, and of every annotation but ours, for manifests are kept in annotations whole. Lists and nesting stay.
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

/** Text of others: `name=value` and `name: value` with such a name, URLs with a password, PEM keys. */
export function redactText(text: string): string {
  return text
    .replaceAll(
      /-----BEGIN [A-Z ]*PRIVATE KEY-----[^]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)/g,
      GONE,
    )
    .replaceAll(/(\b[a-z][a-z0-9+.-]*:\/\/)[^\s/@:]+:[^\s/@]+@/gi, `$1${GONE}@`)
    .replaceAll(/(\bBearer\s+)\S+/gi, `$1${GONE}`)
    .replaceAll(
      /([\w.-]*(?:pass(?:word|wd|phrase)?|secret|token|credential|api-?key)[\w.-]*["']?\s*[=:]\s*)("[^"\n]*"|'[^'\n]*'|[^\s,;}&]+)/gi,
      `$1${GONE}`,
    );
}

function isHidden(key: string, parent: string): boolean {
  if (["data", "stringData", "configMaps", "secrets", "env", "args", "command"].includes(key)) {
    return true;
  }
  if (parent === "annotations")
    return !/^(trine\.dev|io\.kubernetes)\//.test(key) || SECRET_NAME.test(key);
  return SECRET_NAME.test(key);
}

function hide(value: unknown): unknown {
  return value === undefined || value === null ? value : GONE;
}
