import { expect, test } from "vitest";
import { Report } from "../checks/report.ts";
import { checkShape } from "./check.ts";
import {
  type Schema,
  boolean,
  bytes,
  fraction,
  int32,
  intOrString,
  list,
  map,
  needed,
  nullable,
  number,
  object,
  oneOf,
  opaque,
  quantity,
  string,
  time,
} from "./schema.ts";

function faultsOf(schema: Schema<unknown>, value: unknown): string[] {
  const report = new Report();
  checkShape(schema.node, value, "", report);
  return report.causes.map(({ field, reason }) => `${field} ${reason}`);
}

const of = (field: Schema<unknown>) => object({ it: field });

test.each<[string, Schema<unknown>, unknown]>([
  ["text", string(), "x"],
  ["one of the values", oneOf(["a", "b"]), "b"],
  ["a time", time(), "2026-01-02T03:04:05.123Z"],
  ["base64", bytes(), "dHJpbmU="],
  ["a fraction", fraction(), "0.055"],
  ["an integer", int32(), -5],
  ["a number", number(), 1.5],
  ["a quantity as text", quantity(), "1.5Gi"],
  ["a quantity as number", quantity(), 2],
  ["a port by name", intOrString(), "http"],
  ["any object", opaque(), { a: [null] }],
  ["null where it may be", nullable(string()), null],
  ["null where it may not be, which is dropped", string(), null],
  ["a list without items", list(string()), []],
  ["a map", map(int32()), { a: 1 }],
])("takes %s", (_, schema, value) => {
  expect(faultsOf(of(schema), { it: value })).toEqual([]);
});

test.each<[string, Schema<unknown>, unknown, string]>([
  ["a number for text", string(), 1, "it FieldValueTypeInvalid"],
  ["none of the values", oneOf(["a", "b"]), "c", "it FieldValueNotSupported"],
  ["no time", time(), "yesterday", "it FieldValueInvalid"],
  ["no base64", bytes(), "%", "it FieldValueInvalid"],
  ["more than one", fraction(), "1.5", "it FieldValueInvalid"],
  ["too short", string({ minLength: 2 }), "x", "it FieldValueInvalid"],
  ["too long", string({ maxLength: 2 }), "xyz", "it FieldValueInvalid"],
  ["a half", int32(), 1.5, "it FieldValueTypeInvalid"],
  ["beyond 32 bits", int32(), 2 ** 31, "it FieldValueInvalid"],
  ["below the least", int32({ minimum: 1 }), 0, "it FieldValueInvalid"],
  ["text for a switch", boolean(), "true", "it FieldValueTypeInvalid"],
  ["no quantity", quantity(), "1Gx", "it FieldValueInvalid"],
  ["a switch for a quantity", quantity(), true, "it FieldValueTypeInvalid"],
  ["a list for an object", opaque(), [], "it FieldValueTypeInvalid"],
  ["an object for a list", list(string()), {}, "it FieldValueTypeInvalid"],
  ["null in a list", list(string()), [null], "it[0] FieldValueTypeInvalid"],
  ["too many", list(string(), { maxItems: 1 }), ["a", "b"], "it FieldValueTooMany"],
  ["the same twice", list(string(), { merge: "set" }), ["a", "a"], "it[1] FieldValueDuplicate"],
  ["a wrong value in a map", map(int32()), { a: "1" }, "it.a FieldValueTypeInvalid"],
  ["a field that is missing", object({ a: needed(string()) }), {}, "it.a FieldValueRequired"],
  ["null that is needed", object({ a: needed(string()) }), { a: null }, "it.a FieldValueRequired"],
  ["a field not known", object({}), { constructor: 1 }, "it.constructor FieldValueInvalid"],
])("refuses %s", (_, schema, value, fault) => {
  expect(faultsOf(of(schema), { it: value })).toEqual([fault]);
});

test("a needed field with a default may be missing", () => {
  expect(faultsOf(object({ a: needed(string({ default: "x" })) }), {})).toEqual([]);
});

test("two items of a map with equal keys are told, defaults counted", () => {
  const item = object({ port: needed(int32()), protocol: string({ default: "TCP" }) });
  const ports = list(item, { merge: "map", keys: ["port", "protocol"] });
  const value = [{ port: 1 }, { port: 1, protocol: "UDP" }, { port: 1, protocol: "TCP" }];
  expect(faultsOf(of(ports), { it: value })).toEqual(["it[2] FieldValueDuplicate"]);
});

test("counts all faults and keeps a bounded number", () => {
  const report = new Report();
  checkShape(
    list(string()).node,
    Array.from({ length: 5000 }, () => 1),
    "it",
    report,
  );
  expect(report.count).toBe(5000);
  expect(report.causes.length).toBe(200);
});
