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

async function cargo(): Promise<Counts> {
  let code = 0;
  let output = "";
  for (const what of CARGO_TESTS) {
    const [status, text] = await command(["cargo", "test", "--quiet", "--no-fail-fast", ...what]);
    code ||= status;
    output += text;
  }
  const sum = (word: string): number =>
    [...output.matchAll(new RegExp(`(\\d+) ${word}`, "g"))].reduce((n, m) => n + Number(m[1]), 0);
  const failed = Math.max(sum("failed"), code === 0 ? 0 : 1);
  if (failed > 0) console.log(output);
  const ignored = sum("ignored");
  return {
    passed: sum("passed"),
    failed,
    skipped: ignored === 0 ? [] : [`${ignored} ignored Rust tests`],
  };
}

interface VitestReport {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly success: boolean;
  readonly testResults: readonly {
    readonly name: string;
    readonly status: string;
    readonly message: string;
    readonly assertionResults: readonly {
      readonly fullName: string;
      readonly status: string;
      readonly failureMessages: readonly string[];
    }[];
  }[];
}

async function vitest(project: string): Promise<Counts> {
  const dir = await mkdtemp(join(tmpdir(), "trine-report-"));
  const file = join(dir, "report.json");
  const [code, output] = await command(
    [
      "vitest",
      "run",
      "--project",
      project,
      "--reporter=default",
      "--reporter=json",
      `--outputFile.json=${file}`,
    ],
    soak ? { TRINE_SOAK: "1" } : {},
  );
  if (code !== 0) console.log(output);
  const report = JSON.parse(await readFile(file, "utf8")) as VitestReport;
  await rm(dir, { recursive: true });
  const skipped = report.testResults.flatMap((suite) =>
    suite.assertionResults
      .filter((test) => !["passed", "failed"].includes(test.status))
      .map((test) => test.fullName),
  );
  return {
    passed: report.numPassedTests,
    failed: Math.max(report.numFailedTests, code === 0 ? 0 : 1),
    skipped,
    failures: report.testResults.flatMap((suite) => [
      ...(suite.message === "" ? [] : [`${basename(suite.name)}: ${brief(suite.message)}`]),
      ...suite.assertionResults
        .filter((test) => test.status === "failed")
        .map((test) => `${test.fullName}: ${brief(test.failureMessages.join(" | "))}`),
    ]),
  };
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
    { name: "unit tests", budget: 2, run: () => vitest("unit") },
    { name: "rust tests", budget: 6, run: cargo },
  ],
  [{ name: "component tests", budget: soak ? 120 : 38, run: () => vitest("component") }],
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
console.log(`\n${table.join("\n")}\n${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
