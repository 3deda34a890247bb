// `make test`: every tier CI runs, side by side where they do not disturb each other, with a budget each.
// `--soak` runs the long counts as well. The last line is `N passed, N failed`.
import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { stripVTControlCharacters } from "node:util";

const soak = process.argv.includes("--soak");

interface Tier {
  readonly name: string;
  /** Minutes; printed beside what it took, never a reason to fail. */
  readonly budget: number;
  readonly run: () => Promise<Counts>;
}

interface Counts {
  readonly passed: number;
  readonly failed: number;
  /** Titles of tests that did not run: each is a failure, nothing is skipped silently. */
  readonly skipped: readonly string[];
  /** What failed and why, a line each; repeated at the end, where a cut log still shows it. */
  readonly failures?: readonly string[];
  /** What failed beside other tests and passed alone: races to find, told at the end as well. */
  readonly unsteady?: readonly string[];
}

function command(
  argv: readonly string[],
  env: Record<string, string> = {},
): Promise<[number, string]> {
  return new Promise((resolve, reject) => {
    const [program = "", ...args] = argv;
    const child = spawn(program, args, {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, ...env },
    });
    let output = "";
    const keep = (chunk: Buffer): void => {
      output += chunk.toString();
    };
    child.stdout.on("data", keep);
    child.stderr.on("data", keep);
    child.on("error", reject);
    child.on("close", (code) => {
      resolve([code ?? 1, output]);
    });
  });
}

async function checks(): Promise<Counts> {
  const [code, output] = await command(["node", "scripts/check.ts"]);
  console.log(output.trimEnd());
  const lines = output.split("\n");
  return {
    passed: lines.filter((line) => line.startsWith("ok  ")).length,
    failed: Math.max(lines.filter((line) => line.startsWith("FAIL ")).length, code === 0 ? 0 : 1),
    skipped: [],
  };
}

/** The file server is tested as it is shipped, too: which system calls it makes depends on the C library. */
const CARGO_TESTS = [["--workspace"], ["-p", "trine-p9", "--target", "x86_64-unknown-linux-musl"]];

async function cargoOnce(what: readonly string[]): Promise<Counts> {
  const argv = ["cargo", "test", "--quiet", "--no-fail-fast", ...what];
  const [code, output] = await command(argv);
  const sum = (word: string): number =>
    [...output.matchAll(new RegExp(`(\\d+) ${word}`, "g"))].reduce((n, m) => n + Number(m[1]), 0);
  const failed = Math.max(sum("failed"), code === 0 ? 0 : 1);
  if (failed > 0) console.log(output);
  const ignored = sum("ignored");
  return {
    passed: sum("passed"),
    failed,
    skipped: ignored === 0 ? [] : [`${ignored} ignored Rust tests`],
    failures: [...output.matchAll(/^---- (\S+) stdout ----$/gm)].map((match) => match[1] ?? ""),
  };
}

/** As `tests` does: what failed beside others has a second try, here with its whole group. */
async function cargo(): Promise<Counts> {
  const all: Counts[] = [];
  for (const what of CARGO_TESTS) {
    const first = await cargoOnce(what);
    const retry =
      first.failed > 0 && (first.failures ?? []).length > 0 && first.failed <= MOST_RETRIED;
    const second = retry ? await cargoOnce(what) : first;
    const unsteady = second.failed === 0 ? (first.failures ?? []) : [];
    all.push({ ...second, unsteady });
  }
  return {
    passed: all.reduce((sum, counts) => sum + counts.passed, 0),
    failed: all.reduce((sum, counts) => sum + counts.failed, 0),
    skipped: all.flatMap((counts) => counts.skipped),
    failures: all.flatMap((counts) => (counts.failed > 0 ? (counts.failures ?? []) : [])),
    unsteady: all.flatMap((counts) => counts.unsteady ?? []),
  };
}

/** What vitest says of one file. */
interface Suite {
  readonly name: string;
  readonly status: string;
  readonly message: string;
  readonly assertionResults: readonly {
    readonly fullName: string;
    readonly status: string;
    readonly failureMessages: readonly string[];
  }[];
}

async function vitest(project: string, files: readonly string[] = []): Promise<Suite[]> {
  const dir = await mkdtemp(join(tmpdir(), "trine-report-"));
  const file = join(dir, "report.json");
  const [code, output] = await command(
    [
      ...["vitest", "run", "--project", project, ...files],
      ...["--reporter=default", "--reporter=json", `--outputFile.json=${file}`],
    ],
    soak ? { TRINE_SOAK: "1" } : {},
  );
  if (code !== 0) console.log(output);
  const report = JSON.parse(await readFile(file, "utf8")) as { testResults: Suite[] };
  await rm(dir, { recursive: true });
  // An error outside every test belongs to no file, so no second try of a file could find it again.
  const outside = /Unhandled (Rejection|Error)/.test(output);
  if (outside || (code !== 0 && report.testResults.every((suite) => suite.status === "passed"))) {
    throw new Error(
      `vitest ended with ${code}: an error outside the tests of ${project}, see above`,
    );
  }
  return report.testResults;
}

function count(suites: readonly Suite[]): Counts {
  const tests = suites.flatMap((suite) => suite.assertionResults);
  const failed = tests.filter((test) => test.status === "failed");
  return {
    passed: tests.filter((test) => test.status === "passed").length,
    failed: failed.length + suites.filter((suite) => suite.message !== "").length,
    skipped: tests
      .filter((test) => !["passed", "failed"].includes(test.status))
      .map((test) => test.fullName),
    failures: [
      ...suites
        .filter((suite) => suite.message !== "")
        .map((suite) => `${basename(suite.name)}: ${brief(suite.message)}`),
      ...failed.map((test) => `${test.fullName}: ${brief(test.failureMessages.join(" | "))}`),
    ],
  };
}

/** More failures than this (files, or Rust tests) are no race: they fail at once. */
const MOST_RETRIED = 4;

/**
 * A test that fails while others load the machine is run a second time, its file alone. If it passes then, the run
 * does, and the test is told as unsteady with its failure: a race that somebody has to find.
 */
async function tests(project: string): Promise<Counts> {
  const first = await vitest(project);
  const failed = first.filter((suite) => suite.status !== "passed");
  if (failed.length === 0 || failed.length > MOST_RETRIED) return count(first);
  const files = failed.map((suite) => suite.name);
  console.log(`failed at the first try, run again alone: ${files.join(" ")}`);
  const second = await vitest(project, files);
  const steady = first.filter((suite) => suite.status === "passed");
  const unsteady = failed.filter((suite) =>
    second.some((again) => again.name === suite.name && again.status === "passed"),
  );
  return { ...count([...steady, ...second]), unsteady: count(unsteady).failures ?? [] };
}

/** A failure's message in one line of at most 1000 characters, without colours. */
function brief(message: string): string {
  const [beforeStack = ""] = stripVTControlCharacters(message).split(/\n\s+at /);
  return beforeStack.replaceAll(/\s+/g, " ").slice(0, 1000);
}

/** Tiers of one list run one after the other; the lists run side by side. */
const LISTS: readonly (readonly Tier[])[] = [
  [
    { name: "static checks", budget: 6, run: checks },
    { name: "unit tests", budget: 2, run: () => tests("unit") },
    { name: "rust tests", budget: 6, run: cargo },
  ],
  [{ name: "component tests", budget: soak ? 120 : 38, run: () => tests("component") }],
];

const results: (Counts & { name: string })[] = [];
const table: string[] = [];

async function runList(tiers: readonly Tier[]): Promise<void> {
  for (const tier of tiers) {
    const started = performance.now();
    const counts = await tier.run().catch((cause: unknown) => {
      console.log(`${tier.name}: ${String(cause)}`);
      return { passed: 0, failed: 1, skipped: [] };
    });
    const minutes = (performance.now() - started) / 60_000;
    results.push({ name: tier.name, ...counts });
    table.push(
      `${tier.name}: ${counts.passed} passed, ${counts.failed} failed, ` +
        `${minutes.toFixed(1)} of ${tier.budget} minutes`,
    );
    console.log(table.at(-1));
  }
}

await Promise.all(LISTS.map(runList));
const skipped = results.flatMap((result) => result.skipped);
for (const title of skipped) console.log(`not run (a failure here): ${title}`);
const passed = results.reduce((sum, result) => sum + result.passed, 0);
const failed = results.reduce((sum, result) => sum + result.failed, 0) + skipped.length;
for (const line of results.flatMap((result) => result.failures ?? [])) {
  console.log(`failed: ${line}`);
}
for (const line of results.flatMap((result) => result.unsteady ?? [])) {
  console.log(`unsteady (failed beside others, passed alone; find the race): ${line}`);
}
console.log(`\n${table.join("\n")}\n${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
