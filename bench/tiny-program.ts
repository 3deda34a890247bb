import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { cachedDir, writeOciArchive } from "@trine/testkit";
import type { TestImage } from "@trine/testkit";

const NAME = "trine.test/tiny-program:1";
export const TINY_PROGRAM = "/tiny";
const BASE = 0x400000n;
const HEADERS = 64 + 56;
const PROGRAM = tinyProgram("tiny\n");

/** An image of one program that makes two system calls: write(1, "tiny\n"), exit(0). */
export async function tinyProgramImage(): Promise<TestImage> {
  const dir = await cachedDir("image-tiny-program", [PROGRAM.toString("hex")], async (making) => {
    const root = join(making, "root");
    // Where container tools mount; an image without them is one no tool makes.
    for (const name of ["dev", "etc", "proc", "sys", "tmp"]) {
      await mkdir(join(root, name), { recursive: true });
    }
    await writeTinyProgram(join(root, TINY_PROGRAM));
    await writeOciArchive(
      { name: NAME, root, config: { Cmd: [TINY_PROGRAM] } },
      join(making, "image.tar"),
    );
  });
  return { name: NAME, archive: join(dir, "image.tar") };
}

export async function writeTinyProgram(path: string): Promise<void> {
  await writeFile(path, PROGRAM, { mode: 0o755 });
}

/** An ELF executable for x86-64 of one segment, its code right behind the headers. */
function tinyProgram(text: string): Buffer {
  const message = Buffer.from(text);
  const code = Buffer.concat([
    Buffer.from([0xb8, 1, 0, 0, 0]), // mov eax, write
    Buffer.from([0xbf, 1, 0, 0, 0]), // mov edi, 1
    Buffer.from([0x48, 0x8d, 0x35, 16, 0, 0, 0]), // lea rsi, [rip + 16]: the message
    Buffer.from([0xba, message.length, 0, 0, 0]), // mov edx, its length
    Buffer.from([0x0f, 0x05]), // syscall
    Buffer.from([0xb8, 60, 0, 0, 0]), // mov eax, exit
    Buffer.from([0x31, 0xff]), // xor edi, edi
    Buffer.from([0x0f, 0x05]), // syscall
  ]);
  const size = BigInt(HEADERS + code.length + message.length);
  const header = Buffer.alloc(HEADERS);
  header.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  header.writeUInt16LE(2, 16); // ET_EXEC
  header.writeUInt16LE(62, 18); // EM_X86_64
  header.writeUInt32LE(1, 20);
  header.writeBigUInt64LE(BASE + BigInt(HEADERS), 24); // entry
  header.writeBigUInt64LE(64n, 32); // program headers
  header.writeUInt16LE(64, 52);
  header.writeUInt16LE(56, 54);
  header.writeUInt16LE(1, 56);
  header.writeUInt32LE(1, 64); // PT_LOAD
  header.writeUInt32LE(5, 68); // read, execute
  header.writeBigUInt64LE(BASE, 80);
  header.writeBigUInt64LE(BASE, 88);
  header.writeBigUInt64LE(size, 96);
  header.writeBigUInt64LE(size, 104);
  header.writeBigUInt64LE(0x1000n, 112);
  return Buffer.concat([header, code, message]);
}
