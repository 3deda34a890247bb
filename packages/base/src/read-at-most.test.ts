import { Readable } from "node:stream";
import { expect, test } from "vitest";
import { readAtMost } from "./read-at-most.ts";

const tooLong = (): Error => new Error("too long");
const parts = (): Readable => Readable.from([Buffer.from("ab"), Buffer.from("cd")]);

test("a stream as long as it may be is read whole", async () => {
  expect((await readAtMost(parts(), 4, tooLong)).toString()).toBe("abcd");
});

test("one byte more is refused, and the stream ends", async () => {
  const stream = parts();
  await expect(readAtMost(stream, 3, tooLong)).rejects.toThrow("too long");
  expect(stream.destroyed).toBe(true);
});
