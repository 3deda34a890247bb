import { mkdir, readFile, readdir, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { TrineError } from "@trine/base";
import { cachedDir } from "./cache.ts";
import { runCommand } from "./run-command.ts";

const MODULE = "k8s.io/kubernetes";
const RELEASE = "v1.36.3";
const COMMANDS = [
  "cmd/kube-apiserver",
  "cmd/kube-controller-manager",
  "cmd/kube-scheduler",
  "cmd/kubelet",
  "cmd/kubectl",
  "test/images/agnhost",
];
const LDFLAGS = `-s -w -X k8s.io/component-base/version.gitVersion=${RELEASE}`;

/**
 * Directory with kube-apiserver, kube-controller-manager, kube-scheduler, kubelet, kubectl and agnhost,
 * built from the Go module of Kubernetes, once: ten minutes, at low priority.
 */
export async function kubeBinaries(): Promise<string> {
  return cachedDir("kubernetes", [RELEASE, LDFLAGS, ...COMMANDS], async (making) => {
    const work = join(making, "work");
    const bin = join(work, "bin");
    await mkdir(bin, { recursive: true });
    await writeFile(join(work, "go.mod"), await moduleFile());
    const packages = COMMANDS.map((command) => `${MODULE}/${command}`);
    const go = ["go", "install", "-p", "1", "-mod=mod", "-trimpath", "-ldflags", LDFLAGS];
    await runCommand("nice", ["-n", "10", ...go, ...packages], {
      cwd: work,
      env: { GOBIN: bin, CGO_ENABLED: "0", GOFLAGS: "" },
      timeoutMs: 7_200_000,
    });
    for (const file of await readdir(bin)) await rename(join(bin, file), join(making, file));
    await rm(work, { recursive: true });
  });
}

/**
 * A module that needs Kubernetes. Kubernetes names its own parts with version 0.0.0 and takes them from its
 * tree, which a module's users have not: they take the parts as published, 1.36.3 as 0.36.3.
 */
async function moduleFile(): Promise<string> {
  const found = JSON.parse(
    await runCommand("go", ["mod", "download", "-json", `${MODULE}@${RELEASE}`], {
      env: { GOFLAGS: "" },
    }),
  ) as { GoMod?: string };
  if (found.GoMod === undefined) throw new TrineError("internal", `go has no ${MODULE}@${RELEASE}`);
  const theirs = await readFile(found.GoMod, "utf8");
  const parts = new Set(
    [...theirs.matchAll(/^\s(k8s\.io\/\S+) v0\.0\.0$/gm)].map(([, name]) => name),
  );
  const released = RELEASE.replace(/^v1/, "v0");
  return [
    "module trine.test/kubernetes",
    /^go \S+$/m.exec(theirs)?.[0] ?? "go 1.26",
    /^godebug .*$/m.exec(theirs)?.[0] ?? "",
    `require ${MODULE} ${RELEASE}`,
    ...[...parts].map((name) => `replace ${String(name)} => ${String(name)} ${released}`),
    "",
  ].join("\n");
}
