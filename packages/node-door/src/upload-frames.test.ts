import { expect, test } from "vitest";
import { UploadFrames } from "./upload-frames.ts";

const WORDS = Buffer.from("what a disk is made of");
const SENT = Buffer.concat([
  ...UploadFrames.part(WORDS),
  ...UploadFrames.part(WORDS),
  UploadFrames.end(),
]);

test.each([1, 3, 4, 5, 30, SENT.length])(
  "what is cut at every %i bytes is put together",
  (size) => {
    const frames = new UploadFrames();
    const found: Buffer[] = [];
    for (let at = 0; at < SENT.length; at += size) {
      expect(frames.isOver).toBe(false);
      found.push(...frames.read(SENT.subarray(at, at + size)));
    }
    expect(Buffer.concat(found).toString()).toBe(`${WORDS.toString()}${WORDS.toString()}`);
    expect(frames.isOver).toBe(true);
  },
);

test.each([
  ["more behind the end", Buffer.concat([SENT, WORDS])],
  ["a part of four GiB", Buffer.alloc(4, 0xff)],
])("%s is malformed", (_, bytes) => {
  expect(() => [...new UploadFrames().read(bytes)]).toThrow(
    expect.objectContaining({ kind: "malformed" }),
  );
});
