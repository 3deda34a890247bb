import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { checkCallers } from "./check-callers.ts";
import { checkShim, judgeVersion } from "./check-containerd.ts";
import { judgeCapabilities } from "./check-host.ts";
import { judgeHandlers } from "./judge-handlers.ts";
import { runWith } from "../testing.ts";
import { parseAs } from "../testing/schema.ts";

const ALL = ["trine.dev/*", "Virtlet*", "kubernetes.io/target-runtime"];

function config(changes: Record<string, unknown> = {}, stateDir = "/run/trine"): string {
  const runtime = (name: string): object => ({
    runtimeType: `io.containerd.${name}.v2`,
    PodAnnotations: ALL,
    options: { TypeUrl: "x", ConfigPath: stateDir },
    ...changes,
  });
  const runtimes = { "trine-vm": runtime("trine-vm"), "trine-microvm": runtime("trine-microvm") };
  return JSON.stringify({ containerd: { defaultRuntimeName: "runc", runtimes } });
}

test.each([
  ["all there", config(), "ok", /trine-vm, trine-microvm are configured/],
  ["no options", config({ options: null }), "ok", /configured/],
  ["no handlers", JSON.stringify({ containerd: { runtimes: {} } }), "fail", /no handler trine-vm/],
  ["no annotations", config({ PodAnnotations: null }), "fail", /lacks trine\.dev\/\*/],
  ["ours only", config({ PodAnnotations: ["trine.dev/*"] }), "warn", /lacks Virtlet\*/],
  ["another type", config({ runtimeType: "io.containerd.runc.v2" }), "fail", /runtime_type is io/],
  ["another directory", config({}, "/run/other"), "fail", /ConfigPath is \/run\/other/],
  ["not told", "", "warn", /does not tell/],
])("handlers: %s", (_, text, status, detail) => {
  const found = judgeHandlers(text, "/run/trine");
  expect(found).toMatchObject({ status, detail: expect.stringMatching(detail) as string });
  expect(found.fix === undefined).toBe(status === "ok");
});

test.each([
  ["containerd", "1.6.20~ds1", "ok"],
  ["containerd", "v2.4.2+unknown", "ok"],
  ["containerd", "1.7.3", "warn"],
  ["containerd", "1.5.9", "fail"],
  ["containerd", "0.2", "fail"],
  ["cri-o", "1.30.0", "warn"],
])("%s %s is %s", (name, version, status) => {
  expect(judgeVersion(name, version).status).toBe(status);
});

test("capabilities are read from the kernel's mask", () => {
  expect(judgeCapabilities("CapEff:\t000001ffffffffff\n").status).toBe("ok");
  expect(judgeCapabilities("CapEff:\t000001fffeffffff\n")).toMatchObject({ status: "warn" });
  expect(judgeCapabilities("CapEff:\t0000000000000000\n")).toMatchObject({
    status: "fail",
    detail: expect.stringMatching(/CHOWN.*NET_ADMIN/) as string,
  });
});

test("the shim is looked for in PATH, both names", async () => {
  const dir = await mkdtemp(join(tmpdir(), "trine-shim-"));
  try {
    for (const name of ["containerd-shim-trine-vm-v2", "containerd-shim-trine-microvm-v2"]) {
      await writeFile(join(dir, name), "");
      await chmod(join(dir, name), 0o755);
    }
    expect(await checkShim(`/nowhere:${dir}`)).toMatchObject({ status: "ok" });
  } finally {
    await rm(dir, { recursive: true });
  }
});

test("who else may start containers here is named, with how; nobody has run them", async () => {
  const dir = await mkdtemp(join(tmpdir(), "trine-callers-"));
  try {
    await writeFile(join(dir, "crio"), "", { mode: 0o755 });
    const found = await checkCallers(dir);
    expect(found).toMatchObject({ status: "warn", fix: expect.any(String) as string });
    expect(found.detail).toMatch(/crio \(runtime_type = "vm".*untested on this kind of host/);
  } finally {
    await rm(dir, { recursive: true });
  }
});

test("on a machine with nothing every failure says how to mend it", async () => {
  const argv = ["doctor", "--containerd", "/nowhere/c.sock", "--qemu", "/nowhere/qemu"];
  const ran = await runWith("/nowhere", [...argv, "-o", "json"]);
  expect(ran).toMatchObject({ code: 1, stderr: "" });
  const { items } = parseAs("doctor", ran.stdout) as { items: Record<string, string>[] };
  const failed = items.filter(({ status }) => status === "fail");
  const names = failed.map(({ name }) => name);
  expect(names).toEqual(expect.arrayContaining(["qemu", "kvm", "containerd", "cri", "trined"]));
  expect(failed.filter(({ fix }) => fix === undefined)).toEqual([]);
});
