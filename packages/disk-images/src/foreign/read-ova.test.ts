import { mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { TAR_END, tarHeader, tarPadding } from "../tar-header.ts";
import { refuseVmdkText } from "./inspect-vmdk.ts";
import { readOva } from "./read-ova.ts";
import type { OvaDisk } from "./read-ova.ts";

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-ova-"));
});
afterEach(async () => {
  await rm(dir, { recursive: true });
});

/** What is read of an OVA with this .ovf and the disks `d.vmdk` of three bytes and `e.vmdk` of four. */
async function read(ovf: string, wanted?: string): Promise<OvaDisk> {
  const members = [
    ["a.ovf", Buffer.from(ovf)],
    ["d.vmdk", Buffer.from("abc")],
    ["e.vmdk", Buffer.from("abcd")],
  ] as const;
  const blocks = members.flatMap(([name, bytes]) => {
    const sizeBytes = bytes.length;
    const header = tarHeader({ name, mode: 0o644, sizeBytes, type: "file" });
    return [header, bytes, tarPadding(sizeBytes)];
  });
  const archive = Buffer.concat([...blocks, TAR_END]);
  const handle = await open(join(dir, "a.ova"), "w+");
  try {
    await handle.write(archive);
    return await readOva({ handle, offset: 0, sizeBytes: archive.length }, wanted);
  } finally {
    await handle.close();
  }
}

const FILE = `<File ovf:href="d.vmdk" ovf:id='file1' />`;
const DISK = `<Disk\n  ovf:capacity = "1"\tovf:fileRef="file1"/>`;

test.each([
  ["in any order of white space", `${FILE}${DISK}`],
  [
    "with prefixes",
    `<ovf:File id="file1" href="d&#46;vmdk" x:href="d.vmdk"/><ovf:Disk fileRef="file1">`,
  ],
  ["past comments", `<!-- ${DISK} -->${FILE}<!----><!-- a -- <!-- b -->${DISK}`],
])("the disk of an .ovf is found %s", async (_, ovf) => {
  expect(await read(ovf)).toMatchObject({ name: "d.vmdk", sizeBytes: 3 });
});

const SECOND = `<File href="e.vmdk" id="2"/><Disk fileRef="2"/>`;
const BLANK = `<Disk capacity="9"/>`;

test("of several disks the one that is named", async () => {
  const ovf = `${FILE}${DISK}${SECOND}${BLANK}`;
  expect(await read(ovf, "e.vmdk")).toMatchObject({ name: "e.vmdk", sizeBytes: 4 });
  expect(await read(ovf, "d.vmdk")).toMatchObject({ name: "d.vmdk", sizeBytes: 3 });
  expect(await read(`${FILE}${DISK}`, "d.vmdk")).toMatchObject({ name: "d.vmdk" });
  const named = '"d.vmdk", "e.vmdk", ""';
  await expect(read(ovf)).rejects.toThrow(`3 disks (${named}): --disk names`);
  await expect(read(ovf, "a.ovf")).rejects.toThrow(`no disk "a.ovf": there are ${named}`);
  await expect(read(ovf, "")).rejects.toThrow(`no disk ""`);
  await expect(read(BLANK)).rejects.toThrow("leads to no file");
  await expect(read(BLANK.repeat(17), "a")).rejects.toThrow("of 17 disks");
});

test.each([
  ["a comment without an end", `${FILE}${DISK}<!-- `, /comment that does not end/],
  ["an attribute without a value", `${FILE}<Disk ovf:fileRef>`, /attributes that cannot be read/],
  ["more text than any has", " ".repeat(300_000), /"a\.ovf" of 300000 bytes/],
])("an .ovf with %s is refused", async (_, ovf, says) => {
  await expect(read(ovf)).rejects.toThrow(says);
});

// Each is read once: a search that begins anew at each place would go on for minutes.
const LONG = 250_000;
test.each([
  ["comments that begin", "<!--".repeat(LONG / 4), /comment that does not end/],
  ["a name of an attribute", `<Disk ${"a".repeat(LONG)}>`, /attributes that cannot be read/],
  ["names and blanks", `<Disk ${"a ".repeat(LONG / 2)}>`, /attributes that cannot be read/],
  ["a value", `<Disk a="${"a= ".repeat(LONG / 3)}>`, /attributes that cannot be read/],
  ["blanks", `<Disk${" ".repeat(LONG)}x>`, /attributes that cannot be read/],
  ["prefixes", `<${"a.".repeat(LONG / 2)}`, /0 disks/],
  ["tags that begin", "<Disk ".repeat(LONG / 6), /0 disks/],
])("an .ovf of nothing but %s is refused at once", async (_, ovf, says) => {
  await expect(read(ovf)).rejects.toThrow(says);
});

test.each([
  ["blank lines", "\n"],
  ["blanks", " "],
  ["extents that begin", "RW \n"],
])("a VMDK's text of nothing but %s is refused at once", (_, part) => {
  const text = Buffer.from(part.repeat(400_000 / part.length));
  expect(() => refuseVmdkText(text)).toThrow(/none named/);
});

test("the extents that a VMDK's text names are told", () => {
  const text = '\n\n  RW 2048 FLAT "a" 0\r\n\t rdonly 1 VMFS "b"\n';
  expect(() => refuseVmdkText(Buffer.from(text))).toThrow(/\("a", "b"\)/);
});
