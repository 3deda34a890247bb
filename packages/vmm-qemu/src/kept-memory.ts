import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { stat } from "node:fs/promises";
import { createInterface } from "node:readline";
import { TrineError } from "@trine/base";

/** Holds a memory of $1 bytes and says its descriptor; seals it for each line it reads, and says how that went. */
const KEEP_MEMORY = `
my $name = "memory";
my $fd = syscall(319, $name, 2); # memfd_create, MFD_ALLOW_SEALING
open(my $memory, "+<&=", $fd) or die "memfd_create: $!";
truncate($memory, $ARGV[0]) or die "truncate: $!";
$| = 1;
print "$fd\\n";
while (<STDIN>) { print fcntl($memory, 1033, 15) ? "sealed\\n" : "$!\\n" } # F_ADD_SEALS
`;

/** A memory in a process of its own: Node makes none. */
export class KeptMemory {
  readonly path: string;
  readonly #keeper: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  private constructor(keeper: ChildProcess, lines: AsyncIterator<string>, fd: string) {
    this.path = `/proc/${keeper.pid ?? 0}/fd/${fd}`;
    this.#keeper = keeper;
    this.#lines = lines;
  }

  static async make(bytes: number): Promise<KeptMemory> {
    const argv = ["-e", KEEP_MEMORY, String(bytes)];
    const keeper = spawn("perl", argv, { stdio: ["pipe", "pipe", "inherit"] });
    const lines = createInterface({ input: keeper.stdout })[Symbol.asyncIterator]();
    const first = await lines.next();
    return new KeptMemory(keeper, lines, String(first.value));
  }

  async seal(): Promise<{ path: string; inode: string }> {
    this.#keeper.stdin?.write("seal\n");
    const answer = await this.#lines.next();
    const said = String(answer.value);
    if (said !== "sealed") throw new TrineError("wrongState", `seal: ${said}`);
    return { path: this.path, inode: String((await stat(this.path, { bigint: true })).ino) };
  }

  async close(): Promise<void> {
    const ended = once(this.#keeper, "exit");
    this.#keeper.stdin?.end();
    await ended;
  }
}
