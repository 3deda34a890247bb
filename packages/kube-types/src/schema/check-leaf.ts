import { type Report, shown } from "../checks/report.ts";
import { parseQuantity } from "@trine/base";
import type { IntegerNode, Node, PlainNode, StringNode } from "./node.ts";

/** Whether a value is of a kind that has no setting of its own. */
export const IS_PLAIN: Readonly<
  Record<Exclude<PlainNode["kind"], "quantity">, (value: unknown) => boolean>
> = {
  number: (value) => typeof value === "number",
  boolean: (value) => typeof value === "boolean",
  intOrString: (value) => Number.isInteger(value) || typeof value === "string",
  opaque: isRecord,
  metadata: isRecord,
};

const NAMES: Readonly<Record<Node["kind"], string>> = {
  string: "a string",
  integer: "an integer",
  number: "a number",
  boolean: "true or false",
  quantity: "a quantity, such as 500m or 1Gi",
  intOrString: "an integer or a string",
  opaque: "an object",
  metadata: "an object",
  list: "a list",
  map: "an object",
  object: "an object",
};

export function wrongType(node: Node, value: unknown, at: string, report: Report): void {
  report.add("FieldValueTypeInvalid", at, `must be ${NAMES[node.kind]}, not ${shown(value)}`);
}

export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export function checkString(node: StringNode, value: unknown, at: string, report: Report): void {
  if (typeof value !== "string") {
    wrongType(node, value, at, report);
    return;
  }
  const { values, pattern, minLength = 0, maxLength = Infinity, format } = node;
  const length = maxLength === Infinity && minLength === 0 ? 0 : codePoints(value);
  if (values !== undefined && !values.includes(value)) report.unsupported(at, value, values);
  if (pattern !== undefined && !new RegExp(pattern, "u").test(value)) {
    report.invalid(at, `is ${shown(value)}, which does not match ${pattern}`);
  }
  if (length < minLength) report.invalid(at, `must have ${minLength} characters at least`);
  if (length > maxLength) report.invalid(at, `must have ${maxLength} characters at most`);
  if (format !== undefined && !FORMATS[format].test(value)) {
    report.invalid(at, `is ${shown(value)}, which is no ${format}`);
  }
}

/** As the API server counts: a pair of surrogates is one. */
function codePoints(text: string): number {
  return text.length - (text.match(/[\ud800-\udbff][\udc00-\udfff]/g)?.length ?? 0);
}

/** RFC 3339 and RFC 4648 section 4, as far as a pattern tells. */
const FORMATS: Readonly<Record<NonNullable<StringNode["format"]>, RegExp>> = {
  "date-time": /^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$/u,
  byte: /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/u,
};

const INT32 = 2 ** 31;

export function checkInteger(node: IntegerNode, value: unknown, at: string, report: Report): void {
  if (typeof value !== "number" || !Number.isInteger(value)) {
    wrongType(node, value, at, report);
    return;
  }
  const [low, high] = node.format === "int32" ? [-INT32, INT32 - 1] : [-(2 ** 63), 2 ** 63];
  const minimum = Math.max(node.minimum ?? low, low);
  const maximum = Math.min(node.maximum ?? high, high);
  if (value < minimum) report.invalid(at, `is ${value}, must be ${minimum} at least`);
  if (value > maximum) report.invalid(at, `is ${value}, must be ${maximum} at most`);
}

export function checkQuantity(node: PlainNode, value: unknown, at: string, report: Report): void {
  if (Number.isInteger(value)) return;
  if (typeof value !== "string") wrongType(node, value, at, report);
  else if (parseQuantity(value) === undefined) {
    report.invalid(at, `is ${shown(value)}, which is no quantity, such as 500m or 1Gi`);
  }
}
