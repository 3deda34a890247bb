import { execFileSync } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { runWith } from "../testing.ts";

test("with containerd and the daemon down the node's part is written, and what is not is said", async () => {
  const dir = await mkdtemp(join(tmpdir(), "trine-diag-"));
  try {
    const file = join(dir, "out.tar.gz");
    const ran = await runWith(dir, ["diag", "web", "--file", file]);
    expect(ran).toMatchObject({ code: 0, stdout: `${file}\n` });
    expect(ran.stderr).toMatch(/^trine: containerd does not answer/);
    const names = execFileSync("tar", ["-tzf", file], { encoding: "utf8" });
    expect(names).toContain("trine-diag/containerd.error\n");
    expect(names).toContain("trine-diag/trined.error\n");
    expect(names).toContain("trine-diag/versions.json\n");
    expect(names).not.toContain("trine-diag/pods/");
  } finally {
    await rm(dir, { recursive: true });
  }
});
