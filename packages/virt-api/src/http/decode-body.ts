import { messageOf } from "@trine/base";
import * as v from "valibot";
import { parse } from "yaml";
import { badRequest } from "../refusals/refusal.ts";

/** Nothing that people write nests deeper; a parser's stack does. */
const MAX_DEPTH = 100;

/**
 * A body of JSON or YAML, as the schema has it; an empty one is `{}`. Fields that are not known are passed over.
 * Rejects with 400 in the words of KubeVirt.
 */
export function decodeBody<T>(bytes: Uint8Array, schema: v.GenericSchema<unknown, T>): T {
  const value = parseBody(bytes) ?? {};
  if (Array.isArray(value)) throw undecodable("it is a list");
  const checked = v.safeParse(schema, value, { abortEarly: true });
  if (checked.success) return checked.output;
  const [issue] = checked.issues;
  const path = v.getDotPath(issue);
  throw undecodable(`${path === null ? "" : `${path}: `}${issue.message}`);
}

/** The value, `undefined` of an empty body. */
export function parseBody(bytes: Uint8Array): unknown {
  const text = new TextDecoder("utf-8", { fatal: false }).decode(bytes).trim();
  if (text === "") return undefined;
  const isJson = text.startsWith("{") || text.startsWith("[");
  let value: unknown;
  try {
    // References may make a few bytes into any number of values, so there are none.
    value = isJson ? JSON.parse(text) : parse(text, { maxAliasCount: 0 });
  } catch (cause) {
    throw undecodable(messageOf(cause).split("\n", 1)[0] ?? "");
  }
  if (isDeeper(value, MAX_DEPTH)) throw undecodable("it is nested too deep");
  return value;
}

function isDeeper(value: unknown, depth: number): boolean {
  if (typeof value !== "object" || value === null) return false;
  if (depth === 0) return true;
  return Object.values(value).some((each) => isDeeper(each, depth - 1));
}

function undecodable(why: string): Error {
  return badRequest(`Can not unmarshal Request body to struct, error: ${why}`);
}
