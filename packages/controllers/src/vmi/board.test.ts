import { expect, test } from "vitest";
import { instance } from "../testing.ts";
import { boardOf } from "./board.ts";
import { inertFields } from "./inert-fields.ts";

const NEWEST = { type: undefined, isAnother: false };
const ANOTHER = { type: undefined, isAnother: true };

test.each([
  [undefined, NEWEST],
  ["", NEWEST],
  ["q35", { type: "q35", isAnother: false }],
  ["pc-q35-7.2", { type: "pc-q35-7.2", isAnother: false }],
  ["pc-q35-10.0", { type: "pc-q35-10.0", isAnother: false }],
  ["pc-q35-4.0.1", ANOTHER],
  ["pc-q35-rhel9.6.0", ANOTHER],
  ["pc-q35-rhel8.2.0", ANOTHER],
  ["pc-q35-noble", ANOTHER],
  ["pc-q35-jammy-hpb-maxcpus", ANOTHER],
])("machine type %j is the board %j", (type, board) => {
  expect(boardOf(type)).toEqual(board);
});

test.each([
  ["pc", "i440FX is no board here"],
  ["pc-i440fx-7.2", "i440FX is no board here"],
  ["pc-i440fx-rhel7.6.0", "i440FX is no board here"],
  ["microvm", "is no board here: q35, pc-q35-X.Y"],
  ["virt", "is no board here: q35, pc-q35-X.Y"],
  ["Q35", "is no board here: q35, pc-q35-X.Y"],
  ["q35,accel=kvm", "is no board here: q35, pc-q35-X.Y"],
  ["pc-q35-7.2,accel=kvm", "is no board here: q35, pc-q35-X.Y"],
  [`pc-q35-${"a".repeat(62)}`, "is no board here: q35, pc-q35-X.Y"],
])("machine type %j is refused: %s", (type, why) => {
  expect(boardOf(type)).toEqual({ refused: expect.stringContaining(why) as string });
});

test("who names a board of a distribution is told that it is the node's newest", () => {
  const inert = (type: string): readonly string[] =>
    inertFields(instance({ "spec.domain.machine.type": type }).spec).map(({ field }) => field);
  expect(inert("pc-q35-rhel9.6.0")).toEqual(["spec.domain.machine.type"]);
  expect([inert("pc-q35-7.2"), inert("pc")]).toEqual([[], []]);
});
