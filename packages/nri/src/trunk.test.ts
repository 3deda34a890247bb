import { once } from "node:events";
import { PassThrough, duplexPair } from "node:stream";
import { buffer } from "node:stream/consumers";
import { expect, test } from "vitest";
import { Trunk } from "./trunk.ts";

function piece(id: number, bytes: Buffer): Buffer {
  const header = Buffer.alloc(8);
  header.writeUInt32BE(id, 0);
  header.writeUInt32BE(bytes.length, 4);
  return Buffer.concat([header, bytes]);
}

test("bytes come out of their connection however the stream was cut; those of nobody's are dropped", async () => {
  const [ours, theirs] = duplexPair();
  const trunk = new Trunk(ours);
  const branches = [trunk.open(1), trunk.open(2)];
  const read = branches.map((branch) => {
    const copy = new PassThrough();
    branch.on("data", (bytes: Buffer) => copy.write(bytes));
    branch.once("close", () => copy.end());
    return buffer(copy);
  });
  const large = Buffer.alloc(70_000, 7);
  const all = Buffer.concat([
    piece(2, Buffer.from("two")),
    piece(9, Buffer.from("nobody")),
    piece(1, large),
    piece(2, Buffer.from("more")),
  ]);
  for (let at = 0; at < all.length; at += 1021) theirs.write(all.subarray(at, at + 1021));
  theirs.end();
  ours.once("end", () => ours.destroy());
  expect((await Promise.all(read)).map(String)).toEqual([String(large), "twomore"]);
});

test("what is sent goes in pieces that the peer's buffers hold", async () => {
  const [ours, theirs] = duplexPair();
  new Trunk(ours).open(2).write(Buffer.alloc(5000, 1));
  ours.end();
  const sent = await buffer(theirs);
  expect(sent).toEqual(
    Buffer.concat([piece(2, Buffer.alloc(4096, 1)), piece(2, Buffer.alloc(904, 1))]),
  );
});

test("a piece larger than any ttrpc frame ends all connections", async () => {
  const [ours, theirs] = duplexPair();
  const branch = new Trunk(ours).open(1);
  const failed = once(branch, "error");
  theirs.write(Buffer.from("00000001ffffffff", "hex"));
  const [error] = (await failed) as [Error];
  expect(error.message).toMatch(/a piece of 4294967295 bytes/);
});
