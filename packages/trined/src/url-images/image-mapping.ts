import { TrineError, messageOf, quote } from "@trine/base";
import * as v from "valibot";
import { parse } from "yaml";

const MAX_FILE_BYTES = 1024 * 1024;
const MAX_RULES = 4096;
export const MAPPING_KIND = "VirtletImageMapping";

/** What JavaScript takes too, in another meaning: `\A`, `\z`, `\C`, `\Q…\E`, `\a`, `\pN`, `\x{…}`, `[[:alpha:]]`. */
const ONLY_GO = /(?<!\\)(?:\\\\)*(?:\\[AzCQEapP]|\\x\{|\[:\^?[a-z]+:\])/;
const GO_ADVICE = "what Go has and JavaScript has not: write it with ^, $ and [a-z]";

const text = v.pipe(v.string(), v.maxLength(4096));
const pem = v.pipe(v.string(), v.maxLength(64 * 1024));

const Transport = v.strictObject({
  /** ms; 0: none. */
  timeout: v.optional(v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(2 ** 31 - 1)), 0),
  maxRedirects: v.nullish(v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(100))),
  proxy: v.optional(text, ""),
  tls: v.nullish(
    v.strictObject({
      certificates: v.optional(
        v.pipe(
          v.array(v.strictObject({ cert: v.optional(pem, ""), key: v.optional(pem, "") })),
          v.maxLength(64),
        ),
        [],
      ),
      serverName: v.optional(text, ""),
      insecure: v.optional(v.boolean(), false),
    }),
  ),
});

const Rule = v.pipe(
  v.strictObject({
    name: v.optional(text, ""),
    regexp: v.optional(text, ""),
    url: v.pipe(text, v.minLength(1)),
    transport: v.optional(text, ""),
  }),
  v.check(({ name, regexp }) => (name === "") !== (regexp === ""), "name or regexp is wanted"),
);

const MappingSchema = v.strictObject({
  prefix: v.optional(text, ""),
  translations: v.optional(v.pipe(v.array(Rule), v.maxLength(MAX_RULES)), []),
  transports: v.optional(v.record(v.string(), Transport), {}),
});
/** The same as a resource of Kubernetes. */
const ResourceSchema = v.looseObject({ kind: v.literal(MAPPING_KIND), spec: MappingSchema });

/** One file of Virtlet's image name translation. */
export type ImageMapping = v.InferOutput<typeof MappingSchema>;
export type ImageTransport = v.InferOutput<typeof Transport>;

/** Where a name leads, and how that is fetched. */
interface Translated {
  readonly url: string;
  /** Absent: as the system says. */
  readonly transport?: ImageTransport | undefined;
}

/** Reads a mapping, as a file of its own or as a VirtletImageMapping. `file` is for messages; kinds `malformed` and `invalid`. */
export function parseMapping(content: string, file: string): ImageMapping {
  const what = `image mapping ${quote(file)}`;
  if (content.length > MAX_FILE_BYTES) throw new TrineError("invalid", `${what} is too long`);
  let value: unknown;
  try {
    value = parse(content);
  } catch {
    throw new TrineError("malformed", `${what} is no YAML`); // its own words would quote a key
  }
  const isResource = typeof value === "object" && value !== null && "kind" in value;
  const result = isResource
    ? v.safeParse(ResourceSchema, value)
    : v.safeParse(MappingSchema, value);
  if (result.success) return "spec" in result.output ? result.output.spec : result.output;
  const lines = result.issues.map((issue) => `${v.getDotPath(issue) ?? "file"}: ${wrongOf(issue)}`);
  throw new TrineError("invalid", `${what} is wrong: ${lines.join("; ")}`);
}

function wrongOf(issue: v.BaseIssue<unknown>): string {
  if (issue.type === "strict_object") return "a field that is not known or not there";
  return issue.type === "check" ? issue.message : `${issue.expected ?? "another value"} is wanted`;
}

/**
 * The first translation of a name: of each mapping its fixed names before its expressions. An expression is looked for anywhere in
 * the name, and `$1` of the URL is what it has caught; one that cannot be read has no names. It may take for ever: the caller's process is one that may be killed.
 */
export function translate(mappings: readonly ImageMapping[], name: string): Translated | undefined {
  for (const mapping of mappings) {
    const prefix = mapping.prefix === "" ? "" : `${mapping.prefix}/`;
    if (!name.startsWith(prefix)) continue;
    const rest = name.slice(prefix.length);
    const fixed = mapping.translations.find((rule) => rule.name !== "" && rule.name === rest);
    if (fixed !== undefined) return translated(mapping, fixed.transport, fixed.url);
    for (const rule of mapping.translations) {
      const expression = rule.regexp === "" ? undefined : expressionOf(rule.regexp);
      const found = expression instanceof RegExp ? expression.exec(rest) : null;
      if (found !== null) return translated(mapping, rule.transport, expand(rule.url, found));
    }
  }
  return undefined;
}

/** Why expressions of these mappings are passed over, each by its own words. */
export function unreadable(mappings: readonly ImageMapping[]): string[] {
  const rules = mappings.flatMap(({ translations }) => translations);
  return rules.map(({ regexp }) => expressionOf(regexp)).filter((each) => typeof each === "string");
}

function translated(mapping: ImageMapping, transport: string, url: string): Translated {
  if (transport !== "" && !Object.hasOwn(mapping.transports, transport)) {
    throw new TrineError("invalid", `image mapping: there is no transport ${quote(transport)}`);
  }
  return { url, transport: mapping.transports[transport] };
}

/**
 * Go's syntax, which the files are written in, is JavaScript's but for the names of groups and flags at the beginning. Without the
 * flag `u`: as in Go, any sign may have a backslash. Answers why not where it would mean something else here, or nothing.
 */
function expressionOf(source: string): RegExp | string {
  const isAnyCase = source.startsWith("(?i)");
  const rest = (isAnyCase ? source.slice(4) : source).replaceAll("(?P<", "(?<");
  if (ONLY_GO.test(rest)) return `regexp ${quote(source)}: ${GO_ADVICE}`;
  try {
    return new RegExp(rest, isAnyCase ? "i" : "");
  } catch (cause) {
    return `regexp ${quote(source)}: ${messageOf(cause)}`;
  }
}

/** `$1`, `${1}` and `${name}`; `$$` is a dollar, and what was not caught is empty. */
function expand(url: string, found: RegExpExecArray): string {
  return url.replace(/\$(?:(\$)|\{(\w+)\}|(\w+))/g, (_, dollar, braced, plain) => {
    if (dollar !== undefined) return "$";
    const group = String(braced ?? plain);
    return (/^\d+$/.test(group) ? found[Number(group)] : found.groups?.[group]) ?? "";
  });
}
