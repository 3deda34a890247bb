import { mkdtemp, readdir, rename, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Pen } from "./pen.ts";
import type { Mode, PenState } from "./pen.ts";

let dir: string;
let pens: Pen[];

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-pen-"));
  pens = [];
});

afterEach(async () => {
  for (const pen of pens) await pen.close();
  expect(await readdir(dir)).toEqual([]);
  await rm(dir, { recursive: true });
});

async function sit(mode: Mode): Promise<{ pen: Pen; told: PenState[] }> {
  const told: PenState[] = [];
  const pen = await Pen.join(dir, mode, (state) => told.push(state));
  pens.push(pen);
  return { pen, told };
}

const writers = (): number => pens.filter(({ writes }) => writes).length;

test("the first writes, the next ones watch and write in their order when those before leave", async () => {
  const first = await sit("write");
  const second = await sit("write");
  const third = await sit("write");
  expect(first.told).toEqual([{ writes: true }]);
  expect(second.told).toEqual([{ writes: false, writer: process.pid }]);
  expect(writers()).toBe(1);
  await first.pen.close();
  await vi.waitFor(() => {
    expect(second.told.at(-1)).toEqual({ writes: true });
  });
  expect(third.pen.writes).toBe(false);
  await third.pen.close();
  expect(second.pen.writes).toBe(true);
});

test("who takes the pen has it when told so; the one before watches and may take it back", async () => {
  const first = await sit("write");
  const second = await sit("write");
  const taker = await sit("take");
  expect(taker.pen.writes).toBe(true);
  expect(first.told).toEqual([{ writes: true }, { writes: false, writer: process.pid }]);
  expect(writers()).toBe(1);
  const back = await sit("take");
  expect(back.pen.writes).toBe(true);
  expect(taker.pen.writes).toBe(false);
  await back.pen.close();
  await taker.pen.close();
  await vi.waitFor(() => {
    expect(first.pen.writes).toBe(true);
  });
  expect(second.pen.writes).toBe(false);
});

test("a console that was killed is passed over, and its socket goes", async () => {
  const dead = createServer();
  await new Promise<void>((resolve) => dead.listen(join(dir, "5000-1"), resolve));
  // As a kill leaves it: the name stays, and nobody listens.
  await rename(join(dir, "5000-1"), join(dir, "4999-1"));
  await new Promise((resolve) => dead.close(resolve));
  expect(await readdir(dir)).toEqual(["4999-1"]);
  const { pen } = await sit("write");
  expect(pen.writes).toBe(true);
  expect(await readdir(dir)).not.toContain("4999-1");
});

test.each(["write", "take"] as const)(
  "of two that got the same seat one writes (%s)",
  async (mode) => {
    const { pid } = process;
    // At the end of the seats the next one gets the same, as two do that look at the same time.
    const [before, seat] = mode === "write" ? ["9998-1", "9999"] : ["1001-1", "1000"];
    await writeFile(join(dir, before), "");
    Object.defineProperty(process, "pid", { value: pid + 1 });
    const other = await sit(mode).finally(() => {
      Object.defineProperty(process, "pid", { value: pid });
    });
    expect(other.pen.writes).toBe(true);
    const own = await sit(mode);
    expect((await readdir(dir)).sort()).toEqual([`${seat}-${pid}`, `${seat}-${pid + 1}`].sort());
    expect(own.pen.writes).toBe(true);
    expect(other.told.at(-1)).toEqual({ writes: false, writer: pid });
    expect(writers()).toBe(1);
  },
);
