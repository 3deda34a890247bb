// `make bench NAME=x` runs one benchmark, without NAME all of them, and then writes docs/figures.md.
import { readdir, writeFile } from "node:fs/promises";
import { cpus, loadavg, release } from "node:os";
import { join } from "node:path";
import { figureLine, saveSamples } from "../bench/figure.ts";
import type { BenchResult } from "../bench/figure.ts";

const ROOT = join(import.meta.dirname, "..");
const SUFFIX = ".bench.ts";

const available = (await readdir(join(ROOT, "bench")))
  .filter((file) => file.endsWith(SUFFIX))
  .map((file) => file.slice(0, -SUFFIX.length));
const wanted = process.argv.slice(2);
const unknown = wanted.find((name) => !available.includes(name));
if (unknown !== undefined) {
  console.error(`bench: no ${unknown}; there are ${available.join(", ")}`);
  process.exit(2);
}

const lines: string[] = [];
let failed = false;
for (const name of wanted.length > 0 ? wanted : available) {
  console.log(`bench ${name}`);
  const before = loadavg()[0] ?? Number.NaN;
  const module = (await import(join(ROOT, "bench", name + SUFFIX))) as {
    run: () => Promise<BenchResult>;
  };
  try {
    const result = await module.run();
    await saveSamples(join(ROOT, "bench/out"), name, result);
    const notes = [
      ...(result.notes ?? []),
      `Load of the host before it began: ${before.toFixed(1)}.`,
    ];
    for (const note of notes) console.log(note);
    lines.push(`## ${name}`, "", ...result.figures.map((f) => `    ${figureLine(f)}`), "");
    lines.push(...notes.map((note) => `* ${note}`), "");
    for (const figure of result.figures) console.log(figureLine(figure));
  } catch (cause) {
    failed = true;
    console.error(cause);
    console.log(`figure ${name}: not measured, ${String(cause)}`);
  }
}

if (wanted.length === 0 && !failed) {
  const machine = `${cpus().length} × ${cpus()[0]?.model ?? "?"}, Linux ${release()}, software emulation`;
  const head = [
    "# Figures",
    "",
    "Written by `make bench`; each compares with its peer in the same run. Raw samples: `bench/out/`.",
    "",
    `Machine: ${machine}.`,
    "",
  ];
  await writeFile(join(ROOT, "docs/figures.md"), `${[...head, ...lines].join("\n").trimEnd()}\n`);
}
process.exitCode = failed ? 1 : 0;
