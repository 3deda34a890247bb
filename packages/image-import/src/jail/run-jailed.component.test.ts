// What a jailed program that may read files of all owners can do with that: real namespaces, the real filter.
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { DIST } from "@trine/testkit";
import { afterEach, beforeEach, expect, test } from "vitest";
import { runJailed } from "./run-jailed.ts";

const FILTER = join(DIST, "bin/trine-rootfs");
/** open_by_handle_at and fork, of the C library's numbers for x86-64; prints their errno's names. */
const TRY = `
use Errno;
my $named = sub { my ($name) = grep { $!{$_} } qw(EPERM EBADF); $name // ($! ? "failed" : "done") };
$! = 0; syscall(304, -1, my $handle = "\\0" x 128, 0); my $opened = $named->();
$! = 0; my $child = fork; exit 0 if defined $child && !$child; my $forked = $named->();
open my $file, "<", "/work/tree/secret"; print "$opened $forked ", <$file> // "";`;

let dir: string;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-jail-"));
  await mkdir(join(dir, "tree"));
  await writeFile(join(dir, "tree/secret"), "another's", { mode: 0o600 });
  await writeFile(join(dir, "tree/try.pl"), TRY);
});

afterEach(async () => {
  await rm(dir, { recursive: true });
});

function tried(filter: { readonly readsAllBehind?: string }): Promise<string> {
  const source = join(dir, "tree");
  return runJailed(
    {
      program: "/usr/bin/perl",
      args: ["/work/tree/try.pl"],
      mounts: [{ name: "tree", type: "bind", options: ["rbind"], from: "/", source }],
      ...filter,
      memoryBytes: 256 * 1024 * 1024,
      cpuSeconds: 60,
      workDir: dir,
    },
    (output) => text(output),
    new AbortController().signal,
  );
}

test("it reads another's file of its mount, and is refused handles and processes", async () => {
  expect(await tried({ readsAllBehind: FILTER })).toBe("EPERM EPERM another's");
});

test("without the filter it has no such right", async () => {
  // How it refuses a handle is the kernel's own affair; the file stays closed.
  expect(await tried({})).toMatch(/^(?:EPERM|EBADF|failed) done $/);
});

test("of layers whose names are long, from the directory they lie in", async () => {
  const from = join(dir, "l".repeat(200));
  const layers = Array.from({ length: 9 }, (_, index) => `${index}${"x".repeat(40)}`);
  for (const layer of layers) await mkdir(join(from, layer), { recursive: true });
  await writeFile(join(from, layers[8] ?? "", "file"), "lowest");
  const options = [`lowerdir=${layers.join(":")}`];
  const mount = { name: "tree", type: "overlay", options, from, source: "overlay" };
  const read = runJailed(
    {
      program: "/usr/bin/cat",
      args: ["/work/tree/file"],
      mounts: [mount],
      memoryBytes: 256 * 1024 * 1024,
      cpuSeconds: 60,
      workDir: dir,
    },
    (output) => text(output),
    new AbortController().signal,
  );
  expect(await read).toBe("lowest");
});

test("a filter that is not there is told, and nothing runs", async () => {
  await expect(tried({ readsAllBehind: join(dir, "none") })).rejects.toMatchObject({
    kind: "unavailable",
    message: expect.stringMatching(/^no jail can be made for perl: .*none/) as string,
  });
});
