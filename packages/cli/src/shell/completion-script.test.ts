import { execFileSync } from "node:child_process";
import { access, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { completionScript } from "./completion-script.ts";

test("completion asks the program of that name, and runs no file that the line names", async () => {
  const dir = await mkdtemp(join(tmpdir(), "trine-completion-"));
  try {
    const ran = join(dir, "ran");
    await writeFile(join(dir, "other"), `#!/bin/sh\n: >${ran}\n`, { mode: 0o755 });
    await writeFile(join(dir, "trine"), "#!/bin/sh\necho found-$4\n", { mode: 0o755 });
    const line = `COMP_WORDS=("${dir}/other" ps we); COMP_CWORD=2; _trine; echo "\${COMPREPLY[@]}"`;
    const env = { ...process.env, PATH: `${dir}:${process.env["PATH"] ?? ""}` };
    const script = completionScript("bash") + line;
    expect(execFileSync("bash", ["-c", script], { env, encoding: "utf8" })).toBe("found-we\n");
    await expect(access(ran)).rejects.toThrow(/ENOENT/);
  } finally {
    await rm(dir, { recursive: true });
  }
});

test.each(["bash", "zsh", "fish"] as const)("%s: so does the script of each shell", (shell) => {
  expect(completionScript(shell)).toContain("(command trine __complete -- ");
});
