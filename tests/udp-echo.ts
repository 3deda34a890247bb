import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runCommand } from "@trine/testkit";

/** System calls of x86-64 alone, for a guest that has no such program. */
const SOURCE = (port: number): string => `
static long call(long n, long a, long b, long c, long d, long e, long f) {
  register long r10 asm("r10") = d, r8 asm("r8") = e, r9 asm("r9") = f;
  asm volatile("syscall" : "+a"(n) : "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9) : "rcx", "r11", "memory");
  return n;
}
void _start(void) {
  static char bytes[65536];
  unsigned char at[16] = {2, 0, ${port >> 8}, ${port & 0xff}}, from[16];
  long fd = call(41, 2, 2, 0, 0, 0, 0);
  if (call(49, fd, (long)at, 16, 0, 0, 0) != 0) call(60, 1, 0, 0, 0, 0, 0);
  for (;;) {
    unsigned length = 16;
    long count = call(45, fd, (long)bytes, sizeof bytes, 0, (long)from, (long)&length);
    if (count >= 0) call(44, fd, (long)bytes, count, 0, (long)from, length);
  }
}
`;

/** A program that sends every datagram that comes to the port back to where it came from. */
export async function udpEcho(port: number): Promise<Buffer> {
  const dir = await mkdtemp(join(tmpdir(), "trine-udp-"));
  try {
    const source = join(dir, "echo.c");
    await writeFile(source, SOURCE(port));
    const flags = ["-Os", "-s", "-static", "-nostdlib", "-ffreestanding", "-fno-stack-protector"];
    const linked = ["-Wl,--build-id=none", "-Wl,-z,noseparate-code"];
    await runCommand("gcc", [...flags, ...linked, "-o", join(dir, "echo"), source]);
    return await readFile(join(dir, "echo"));
  } finally {
    await rm(dir, { recursive: true });
  }
}
