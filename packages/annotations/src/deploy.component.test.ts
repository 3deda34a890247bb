// What the installed containerd makes of the drop-in (1.x: the machine's own package).
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { parse as parseToml } from "smol-toml";
import { expect, test } from "vitest";
import { HANDLERS, POD_ANNOTATION_PATTERNS } from "./runtimes.ts";

const run = promisify(execFile);
const DEPLOY = join(import.meta.dirname, "../../../deploy/containerd");

/** containerd's merged configuration when config.toml is `text`. */
async function dump(text: string): Promise<{ version: number; plugins: Record<string, Cri> }> {
  const dir = await mkdtemp(join(tmpdir(), "trine-deploy-"));
  try {
    const file = join(dir, "config.toml");
    await writeFile(file, text);
    const { stdout } = await run("containerd", ["--config", file, "config", "dump"]);
    return parseToml(stdout) as unknown as { version: number; plugins: Record<string, Cri> };
  } finally {
    await rm(dir, { recursive: true });
  }
}

interface Cri {
  containerd: { default_runtime_name: string; runtimes: Record<string, Record<string, unknown>> };
}

test("containerd takes both handlers with their annotations and options", async () => {
  const { stdout } = await run("containerd", ["--version"]);
  const major = / v?(\d+)\./.exec(stdout)?.[1] ?? "1";
  const { plugins } = await dump(await readFile(join(DEPLOY, `containerd-${major}.toml`), "utf8"));
  const cri = plugins[major === "1" ? "io.containerd.grpc.v1.cri" : "io.containerd.cri.v1.runtime"];
  for (const name of HANDLERS) {
    expect(cri?.containerd.runtimes[name]).toMatchObject({
      runtime_type: `io.containerd.${name}.v2`,
      pod_annotations: [...POD_ANNOTATION_PATTERNS],
      privileged_without_host_devices: true,
      options: { ConfigPath: "/run/trine" },
    });
  }
});

test("appended to a config.toml the handlers stand beside what it had", async (context) => {
  const { stdout } = await run("containerd", ["config", "default"]);
  context.skip(!stdout.includes("version = 2"), "this containerd imports drop-ins properly");
  const handlers = await readFile(join(DEPLOY, "containerd-1.toml"), "utf8");
  const { plugins } = await dump(stdout + handlers.replace(/^version = 2$/m, ""));
  const cri = plugins["io.containerd.grpc.v1.cri"];
  expect(Object.keys(cri?.containerd.runtimes ?? {}).sort()).toEqual([...HANDLERS, "runc"].sort());
});
