import { randomBytes } from "node:crypto";
import { expect, test } from "vitest";
import { fileOfForm } from "./file-of-form.ts";

const TYPE = "multipart/form-data; boundary=----x.1";
const FIELD = 'content-disposition: form-data; name="note"\r\n\r\nhello\r\n';
const HEAD =
  'Content-Disposition: form-data; name="file"; filename="a.img"\r\nContent-Type: a/b\r\n\r\n';

async function fileOf(body: Buffer, type = TYPE, cut = body.length): Promise<Buffer> {
  async function* pieces(): AsyncGenerator<Buffer> {
    for (let at = 0; at < body.length; at += cut) {
      yield body.subarray(at, at + cut);
      await Promise.resolve();
    }
  }
  const found: Buffer[] = [];
  for await (const bytes of fileOfForm(pieces(), type)) found.push(bytes);
  return Buffer.concat(found);
}

function form(file: Buffer, { end = "------x.1--\r\n" } = {}): Buffer {
  const before = `------x.1\r\n${FIELD}------x.1\r\n${HEAD}`;
  return Buffer.concat([Buffer.from(before), file, Buffer.from(`\r\n${end}`)]);
}

/** All that looks like a delimiter and is none. */
const ODD = Buffer.concat([
  Buffer.from("\r\n------x\r\n--\r\r\n------x.0\r\n\r\n"),
  randomBytes(300),
  // The boundary as the beginning of a line of the file's.
  Buffer.from(`\r\n------x.1x\r\n------x.1-\r\n------x.1 \t x\r\n------x.1${" ".repeat(65)}\r\n`),
  Buffer.from("\r\n------x.10--\r\n------x.1\r\r\n------x."),
]);

test.each([1, 2, 3, 7, 64, 100_000])("the file of a form that comes by %i bytes", async (cut) => {
  expect((await fileOf(form(ODD), TYPE, cut)).equals(ODD)).toBe(true);
  expect(await fileOf(form(Buffer.of()), TYPE, cut)).toHaveLength(0);
});

test.each([1, 5, 1_000])("blanks behind a boundary, fields behind the file: by %i", async (cut) => {
  const end = `------x.1 \t\r\n${FIELD}------x.1\r\n${HEAD}another\r\n------x.1-- \r\nmore`;
  expect((await fileOf(form(ODD, { end }), TYPE, cut)).equals(ODD)).toBe(true);
});

test("what Node's own FormData makes", async () => {
  const data = new FormData();
  data.append("name", "disk");
  data.append("file", new Blob([ODD]), "disk.img");
  const request = new Request("http://a", { method: "POST", body: data });
  const type = request.headers.get("content-type") ?? "";
  const body = Buffer.from(await request.arrayBuffer());
  expect((await fileOf(body, type, 50)).equals(ODD)).toBe(true);
});

test.each<readonly [string, Buffer, string]>([
  ["a cut off file", form(ODD, { end: "----" }), TYPE],
  ["a form without its end", form(ODD, { end: "------x.1\r\n" }), TYPE],
  ["a form that ends in a field", form(ODD, { end: `------x.1\r\n${FIELD}` }), TYPE],
  ["half an end", form(ODD, { end: "------x.1-" }), TYPE],
  ["a boundary alone", form(ODD, { end: "------x.1" }), TYPE],
  ["no file", Buffer.from(`------x.1\r\n${FIELD}------x.1--\r\n`), TYPE],
  ["nothing", Buffer.of(), TYPE],
  ["another boundary", form(ODD), "multipart/form-data; boundary=y"],
  ["no boundary", form(ODD), "multipart/form-data"],
  ["another type", form(ODD), "application/octet-stream; boundary=----x.1"],
  ["a long boundary", form(ODD), `multipart/form-data; boundary=${"b".repeat(71)}`],
  ["long headers", Buffer.from(`------x.1\r\na: ${"b".repeat(9_000)}\r\n\r\n`), TYPE],
  ["a long preamble", Buffer.concat([Buffer.alloc(70_000), form(ODD)]), TYPE],
  ["a long epilogue", Buffer.concat([form(ODD), Buffer.alloc(70_000)]), TYPE],
  ["many fields", Buffer.from(`------x.1\r\n${FIELD}`.repeat(2_000)), TYPE],
])("%s is malformed", async (_, body, type) => {
  for (const cut of [5, 1_000, body.length || 1]) {
    await expect(fileOf(body, type, cut)).rejects.toMatchObject({ kind: "malformed" });
  }
});
