import { expect, test } from "vitest";
import { HeaderDecoder, encodeHeaders } from "./hpack.ts";
import { decodeHuffman } from "./huffman.ts";

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(" ", ""), "hex");

test.each([
  // RFC 7541, C.4 and C.6
  ["f1e3 c2e5 f23a 6ba0 ab90 f4ff", "www.example.com"],
  ["a8eb 1064 9cbf", "no-cache"],
  ["d07a be94 1054 d444 a820 0595 040b 8166 e082 a62d 1bff", "Mon, 21 Oct 2013 20:13:21 GMT"],
])("Huffman's code %s", (bytes, text) => {
  expect(decodeHuffman(hex(bytes))).toBe(text);
});

test.each([["ffff ffff"], ["f1e3 c2e5 f23a 6ba0 ab90 f400"], ["1fff"]])(
  "no string of Huffman's code: %s",
  (bytes) => {
    expect(() => decodeHuffman(hex(bytes))).toThrow(/header/);
  },
);

test("three answers on one connection, with a table of 256 bytes (RFC 7541, C.6)", () => {
  const decoder = new HeaderDecoder();
  const size = "3fe101";
  const first =
    "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3";
  const common = {
    "cache-control": "private",
    date: "Mon, 21 Oct 2013 20:13:21 GMT",
    location: "https://www.example.com",
  };
  expect(decoder.decode(hex(size + first))).toEqual({ ":status": "302", ...common });
  expect(decoder.decode(hex("4883 640e ffc1 c0bf"))).toEqual({ ":status": "307", ...common });
  const third =
    "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07";
  expect(decoder.decode(hex(third))).toMatchObject({
    ":status": "200",
    date: "Mon, 21 Oct 2013 20:13:22 GMT",
    "content-encoding": "gzip",
    "set-cookie": "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
  });
});

test("what is encoded is read again, also beyond 127 bytes", () => {
  const fields = { ":path": "/a.B/C", empty: "", long: "x".repeat(300) };
  expect(new HeaderDecoder().decode(encodeHeaders(fields))).toEqual(fields);
});

test.each([
  ["80", "no field 0"],
  ["ff00", "no field 127"],
  ["3fe21f", "a table of 4097 bytes"],
  ["0005 61", "end within a string"],
  ["00", "end within a field"],
  ["ffff ffff ffff ff", "a number is too long"],
])("a block that is none, %s: %s", (bytes, why) => {
  expect(() => new HeaderDecoder().decode(hex(bytes))).toThrow(why);
});

test("a block of too many fields is refused", () => {
  expect(() => new HeaderDecoder().decode(Buffer.alloc(300, 0x82))).toThrow("too many");
});
