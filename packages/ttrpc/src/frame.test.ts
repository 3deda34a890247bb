import { expect, test } from "vitest";
import { FrameDecoder, HEADER_BYTES, MAX_BODY_BYTES, REQUEST, encodeFrame } from "./frame.ts";
import type { Frame } from "./frame.ts";
import { Random } from "./testing.ts";

function encodeAll(random: Random, count: number): { bodies: Uint8Array[]; bytes: Uint8Array } {
  const bodies = Array.from({ length: count }, () => random.bytes(random.below(300)));
  const frames = bodies.map((body, i) => encodeFrame(2 * i + 1, REQUEST, body));
  return { bodies, bytes: Buffer.concat(frames) };
}

function decode(decoder: FrameDecoder, bytes: Uint8Array): Frame[] {
  return [...decoder.push(bytes)];
}

test("writes the header as ttrpc's specification has it", () => {
  const frame = encodeFrame(0x01020305, REQUEST, Uint8Array.of(7, 8));
  expect([...frame]).toEqual([0, 0, 0, 2, 1, 2, 3, 5, 1, 0, 7, 8]);
});

test("gives the same frames however the stream is cut", () => {
  const random = new Random(0x5eed);
  for (let round = 0; round < 200; round += 1) {
    const { bodies, bytes } = encodeAll(random, 8);
    const decoder = new FrameDecoder();
    const got: Frame[] = [];
    for (let at = 0; at < bytes.length;) {
      const end = at + 1 + random.below(97);
      got.push(...decode(decoder, bytes.subarray(at, end)));
      at = end;
    }
    expect(got.map((frame) => Buffer.from(frame.body).toString("hex"))).toEqual(
      bodies.map((body) => Buffer.from(body).toString("hex")),
    );
    expect(decoder.pending).toBe(0);
  }
});

test("survives random bytes and holds no more than it was given", () => {
  const random = new Random(0xfeed);
  for (let round = 0; round < 2000; round += 1) {
    const decoder = new FrameDecoder();
    const bytes = random.bytes(random.below(64));
    try {
      decode(decoder, bytes);
      expect(decoder.pending).toBeLessThanOrEqual(bytes.length);
    } catch (error) {
      expect(error).toMatchObject({ kind: "malformed" });
    }
  }
});

test("answers mutated streams with frames or kind malformed", () => {
  const random = new Random(0xcafe);
  for (let round = 0; round < 2000; round += 1) {
    const bytes = Uint8Array.from(encodeAll(random, 4).bytes);
    const at = random.below(bytes.length);
    bytes[at] = (bytes[at] ?? 0) ^ (1 << random.below(8));
    const decoder = new FrameDecoder();
    try {
      for (const frame of decode(decoder, bytes)) {
        expect(frame.body.length).toBeLessThan(bytes.length);
      }
    } catch (error) {
      expect(error).toMatchObject({ kind: "malformed" });
    }
  }
});

test("a body of exactly the limit passes, one more byte does not", () => {
  const decoder = new FrameDecoder();
  const frame = encodeFrame(1, REQUEST, new Uint8Array(MAX_BODY_BYTES));
  expect(decode(decoder, frame.subarray(0, 100))).toEqual([]);
  expect(decode(decoder, frame.subarray(100))[0]?.body.length).toBe(MAX_BODY_BYTES);

  const tooLong = new Uint8Array(MAX_BODY_BYTES + 1);
  expect(() => encodeFrame(1, REQUEST, tooLong)).toThrow(/over ttrpc's limit/);
  const header = new Uint8Array(HEADER_BYTES);
  new DataView(header.buffer).setUint32(0, MAX_BODY_BYTES + 1);
  expect(() => decode(decoder, header)).toThrow(/over the limit/);
});
