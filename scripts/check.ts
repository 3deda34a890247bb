// Runs every static check side by side and prints only what failed. `npm run check`, `make check`.
import { spawn } from "node:child_process";
import { availableParallelism } from "node:os";

const CHECKS: Readonly<Record<string, readonly string[]>> = {
  format: ["npm", "run", "--silent", "check:format"],
  lint: ["npm", "run", "--silent", "check:lint"],
  types: ["npm", "run", "--silent", "check:types"],
  layers: ["npm", "run", "--silent", "check:layers"],
  dead: ["npm", "run", "--silent", "check:dead"],
  generated: ["node", "scripts/generate.ts", "--check"],
  docs: ["node", "scripts/docs.ts", "--check"],
  rustfmt: ["cargo", "fmt", "--check"],
  clippy: ["cargo", "clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"],
};

interface Outcome {
  readonly name: string;
  readonly ok: boolean;
  readonly seconds: number;
  readonly output: string;
}

function run(name: string, argv: readonly string[]): Promise<Outcome> {
  const started = performance.now();
  return new Promise((resolve) => {
    const [program = "", ...args] = argv;
    const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    const keep = (chunk: Buffer): void => {
      output += chunk.toString();
    };
    child.stdout.on("data", keep);
    child.stderr.on("data", keep);
    const end = (ok: boolean): void => {
      resolve({ name, ok, seconds: (performance.now() - started) / 1000, output });
    };
    child.on("error", (cause) => {
      output += String(cause);
      end(false);
    });
    child.on("close", (code) => {
      end(code === 0);
    });
  });
}

const queue = Object.entries(CHECKS);
const outcomes: Outcome[] = [];
async function worker(): Promise<void> {
  for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
    const outcome = await run(...next);
    outcomes.push(outcome);
    console.log(`${outcome.ok ? "ok  " : "FAIL"} ${outcome.name} ${outcome.seconds.toFixed(1)}s`);
    if (!outcome.ok) console.log(outcome.output);
  }
}
await Promise.all(Array.from({ length: availableParallelism() }, worker));
process.exitCode = outcomes.every((outcome) => outcome.ok) ? 0 : 1;
