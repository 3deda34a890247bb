import { copyFile } from "node:fs/promises";
import { join } from "node:path";
import { TrineError } from "@trine/base";
import { cachedDir } from "./cache.ts";
import { runCommand } from "./run-command.ts";

const MODULE = "sigs.k8s.io/metrics-server";
const RELEASE = "v0.9.0";
/** What the module's files are; its own go.sum says it of all that it needs. */
const SUM = "h1:nlqqZ2H0Xfko8eJC/1qaNVVT17hu4rxndkOi22KTZ4w=";
const LDFLAGS = "-s -w";
const RIGHTS = "manifests/base/rbac.yaml";

/** Directory with metrics-server and `rbac.yaml`, its account's rights, built from its Go module, once: minutes, at low priority. */
export async function metricsServerBinary(): Promise<string> {
  return cachedDir("metrics-server", [RELEASE, SUM, LDFLAGS, RIGHTS], async (making) => {
    const of = { env: { CGO_ENABLED: "0", GOFLAGS: "" }, timeoutMs: 3_600_000 };
    const download = ["mod", "download", "-json", `${MODULE}@${RELEASE}`];
    const found = JSON.parse(await runCommand("go", download, of)) as {
      readonly Dir?: string;
      readonly Sum?: string;
    };
    if (found.Dir === undefined || found.Sum !== SUM) {
      const what = `${MODULE}@${RELEASE} of ${SUM}`;
      throw new TrineError("internal", `go has no ${what}: ${found.Sum ?? "nothing"}`);
    }
    // In its own tree: versions and sums of all that it needs are its own.
    const flags = ["-p", "1", "-mod=readonly", "-buildvcs=false", "-trimpath"];
    const out = ["-ldflags", LDFLAGS, "-o", join(making, "metrics-server"), "./cmd/metrics-server"];
    await runCommand("nice", ["-n", "10", "go", "build", ...flags, ...out], {
      ...of,
      cwd: found.Dir,
    });
    await copyFile(join(found.Dir, RIGHTS), join(making, "rbac.yaml"));
  });
}
