import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { TrineError } from "@trine/base";
import { cachedDir } from "./cache.ts";
import { runCommand } from "./run-command.ts";

const MODULE = "gvisor.dev/gvisor";
const RELEASE = "v0.0.0-20260905035102-160fafc42237";
const LDFLAGS = "-s -w -X gvisor.dev/gvisor/runsc/version.version=release-20260905.0";
const PROGRAMS = { runsc: "runsc", "containerd-shim-runsc-v1": "shim" } as const;
/**
 * The shim lowers its own oom_score_adj and ends where it may not: without CAP_SYS_RESOURCE, which machines of tests
 * lack. There it asks for what it has.
 */
const SOURCE = "pkg/shim/v1/manager.go";
const [SCORE, SCORE_HERE] = ["oomScoreMax = -999", "oomScoreMax = 0"];

/** Directory with runsc and its containerd shim, built from gVisor's Go module, once: minutes, at low priority. */
export async function gvisorBinaries(): Promise<string> {
  const recipe = [RELEASE, LDFLAGS, SCORE_HERE, ...Object.keys(PROGRAMS)];
  return cachedDir("gvisor", recipe, async (making) => {
    const work = join(making, "work");
    await mkdir(work);
    await writeModule(work);
    for (const [program, path] of Object.entries(PROGRAMS)) {
      const flags = ["-p", "1", "-mod=mod", "-trimpath", "-ldflags", LDFLAGS];
      const out = ["-o", join(making, program), `${MODULE}/${path}`];
      await runCommand("nice", ["-n", "19", "go", "build", ...flags, ...out], {
        cwd: work,
        env: { CGO_ENABLED: "0", GOFLAGS: "" },
        timeoutMs: 3_600_000,
      });
    }
    await rm(work, { recursive: true });
  });
}

/** A module that needs gVisor: a copy of it, in which one line is another. */
async function writeModule(work: string): Promise<void> {
  const found = JSON.parse(
    await runCommand("go", ["mod", "download", "-json", `${MODULE}@${RELEASE}`], {
      env: { GOFLAGS: "" },
    }),
  ) as { Dir?: string };
  if (found.Dir === undefined) throw new TrineError("internal", `go has no ${MODULE}@${RELEASE}`);
  const copy = join(work, "gvisor");
  await runCommand("cp", ["--recursive", "--no-preserve=mode", found.Dir, copy]);
  const source = join(copy, SOURCE);
  const text = await readFile(source, "utf8");
  if (!text.includes(SCORE)) throw new TrineError("internal", `${source} has no ${SCORE}`);
  await writeFile(source, text.replace(SCORE, SCORE_HERE));
  const version = /^go \S+$/m.exec(await readFile(join(copy, "go.mod"), "utf8"))?.[0] ?? "go 1.26";
  const needs = `require ${MODULE} ${RELEASE}\nreplace ${MODULE} => ./gvisor\n`;
  await writeFile(join(work, "go.mod"), `module trine.test/gvisor\n\n${version}\n\n${needs}`);
}
