import { TrineError, quote } from "@trine/base";

const MAX_LENGTH = 4096;
const MAX_RESULTS = 100_000;

type Step =
  | { readonly kind: "field"; readonly name: string }
  | { readonly kind: "index"; readonly at: number }
  | { readonly kind: "all" }
  | { readonly kind: "filter"; readonly path: readonly Step[]; readonly equals: unknown };

type Part =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "path"; readonly steps: readonly Step[] }
  | { readonly kind: "range"; readonly steps: readonly Step[]; readonly body: readonly Part[] };

/**
 * kubectl's jsonpath as far as scripts use it: `{.a.b}`, `[0]`, `[-1]`, `[*]`, `['k']`,
 * `[?(@.a=="b")]`, `{"\n"}`, `{range .items[*]}…{end}`. Kind `invalid` for anything else.
 */
export function compileJsonpath(template: string): (value: unknown) => string {
  if (template.length > MAX_LENGTH) throw new TrineError("invalid", "the jsonpath is too long");
  // `-o jsonpath=.a.b` without braces is what people type.
  const whole = /[{}]/.test(template) ? template : `{${template}}`;
  const tokens = whole.match(/\{(?:"(?:[^"\\]|\\.)*"|'[^']*'|[^{}"'])*\}|[^{}]+|[{}]/g) ?? [];
  const queue = [...tokens];
  const parts = parseParts(queue, false, template);
  return (value) => render(parts, value);
}

function parseParts(queue: string[], inRange: boolean, template: string): Part[] {
  const parts: Part[] = [];
  for (let token = queue.shift(); token !== undefined; token = queue.shift()) {
    if (!token.startsWith("{")) {
      parts.push({ kind: "text", text: token });
      continue;
    }
    const inner = token.slice(1, -1).trim();
    if (token.length < 2) throw bad(template);
    if (inner === "end" && inRange) return parts;
    if (inner.startsWith("range ")) {
      const steps = parseSteps(inner.slice(6).trim(), template);
      parts.push({ kind: "range", steps, body: parseParts(queue, true, template) });
    } else if (inner.startsWith('"')) {
      parts.push({ kind: "text", text: parseText(inner, template) });
    } else {
      parts.push({ kind: "path", steps: parseSteps(inner, template) });
    }
  }
  if (inRange) throw new TrineError("invalid", `jsonpath ${quote(template)}: {end} is missing`);
  return parts;
}

function parseText(inner: string, template: string): string {
  try {
    return String(JSON.parse(inner));
  } catch (cause) {
    throw new TrineError("invalid", bad(template).message, { cause });
  }
}

const STEP =
  /^(?:\.?(\*)|\.((?:[\w-]|\\.)+)|\[(-?\d{1,9})\]|\[(\*)\]|\['((?:[^'\\]|\\.)*)'\]|\[\?\(@([^=()]*)==\s*("(?:[^"\\]|\\.)*"|'[^']*'|-?\d+|true|false)\s*\)\])/;

function parseSteps(path: string, template: string): Step[] {
  const steps: Step[] = [];
  let rest = path.replace(/^[@$]/, "");
  if (rest === ".") rest = "";
  while (rest !== "") {
    const match = STEP.exec(rest);
    if (match === null) throw bad(template);
    const [whole, star, name, at, all, quoted, filter, equals] = match;
    rest = rest.slice(whole.length);
    const field = name ?? quoted;
    if (star !== undefined || all !== undefined) steps.push({ kind: "all" });
    else if (field !== undefined)
      steps.push({ kind: "field", name: field.replaceAll(/\\(.)/g, "$1") });
    else if (at !== undefined) steps.push({ kind: "index", at: Number(at) });
    else steps.push(filterStep(filter ?? "", equals ?? "", template));
  }
  return steps;
}

function filterStep(path: string, literal: string, template: string): Step {
  const equals: unknown = literal.startsWith("'") ? literal.slice(1, -1) : JSON.parse(literal);
  return { kind: "filter", path: parseSteps(path.trim(), template), equals };
}

function bad(template: string): TrineError {
  const forms = `{.a.b[0]}, [*], ['k'], [?(@.a=="b")], {range .items[*]}{.x}{"\\n"}{end}`;
  return new TrineError("invalid", `jsonpath ${quote(template)}: there are ${forms}`);
}

function render(parts: readonly Part[], value: unknown): string {
  return parts
    .map((part) => {
      if (part.kind === "text") return part.text;
      const found = follow(part.steps, value);
      if (part.kind === "path") return found.map(show).join(" ");
      return found.map((each) => render(part.body, each)).join("");
    })
    .join("");
}

function follow(steps: readonly Step[], value: unknown): unknown[] {
  let found: unknown[] = [value];
  for (const step of steps) {
    found = found.flatMap((each) => take(step, each));
    if (found.length > MAX_RESULTS) throw new TrineError("invalid", "the jsonpath finds too much");
  }
  return found;
}

function take(step: Step, value: unknown): unknown[] {
  if (typeof value !== "object" || value === null) return [];
  if (step.kind === "all") return Object.values(value);
  if (step.kind === "field") {
    return Object.hasOwn(value, step.name) ? [(value as Record<string, unknown>)[step.name]] : [];
  }
  if (!Array.isArray(value)) return [];
  const list = value as unknown[];
  if (step.kind === "index") {
    const item = list.at(step.at);
    return item === undefined ? [] : [item];
  }
  return list.filter((item) => follow(step.path, item).includes(step.equals));
}

function show(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}
