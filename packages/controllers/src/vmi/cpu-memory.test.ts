import { expect, test } from "vitest";
import { madeWith } from "./cpu-memory.ts";

const GIB = 1024 ** 3;
const TOPOLOGY = "trine.dev/cpu-topology";
const MEMORY = "trine.dev/memory";

test.each<[string, Readonly<Record<string, string>> | undefined, object | undefined]>([
  [
    "as its pod was rendered",
    { [TOPOLOGY]: '{"sockets":2,"cores":3,"threads":2}', [MEMORY]: "1Gi" },
    { cpus: 12, memoryBytes: GIB },
  ],
  [
    "in another order, one of each unsaid",
    { [TOPOLOGY]: '{ "cores": 3, "sockets": 2 }', [MEMORY]: "1024Mi" },
    { cpus: 6, memoryBytes: GIB },
  ],
  [
    "beside what is not of it",
    { [TOPOLOGY]: '{"sockets":2}', [MEMORY]: "1Gi", "trine.dev/other": "?", a: "b" },
    { cpus: 2, memoryBytes: GIB },
  ],
  ["without its processors", { [MEMORY]: "1Gi" }, undefined],
  ["without its memory", { [TOPOLOGY]: '{"sockets":2}' }, undefined],
  ["in other words", { [TOPOLOGY]: "two", [MEMORY]: "1Gi" }, undefined],
  ["with more than there can be", { [TOPOLOGY]: '{"sockets":999}', [MEMORY]: "1Gi" }, undefined],
  ["by nothing", undefined, undefined],
])("what a machine was made with, said %s", (_, annotations, size) => {
  expect(madeWith(annotations)).toEqual(size);
});
