import { createServer } from "node:http";
import { once } from "node:events";
import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { PodSummary } from "@trine/engine";
import { expect, test } from "vitest";
import { parseAllDocuments } from "yaml";
import { runWith, samplePod } from "../testing.ts";
import { overheadsIn, raisedOverheads, runtimeClasses } from "./runtime-classes.ts";
import { makePrefix, makeRoot } from "./testing.ts";

const MIB = 1024 * 1024;
/** A microVM's pod is charged this besides. */
const LEAST_GUEST_MIB = 112;
const SHIPPED = join(import.meta.dirname, "../../../../deploy/kubernetes/runtimeclasses.yaml");

test("what ships is charged at least; more where more was measured", async () => {
  const shipped = await readFile(SHIPPED, "utf8");
  const before = overheadsIn(shipped);
  expect([...before.keys()]).toEqual(["trine-vm", "trine-microvm"]);
  const measured = new Map([
    ["trine-vm", (before.get("trine-vm") ?? 0) + 16 * MIB],
    ["trine-microvm", 1],
    ["other", 1],
  ]);
  const overheads = raisedOverheads(shipped, measured);
  const text = runtimeClasses(shipped, { gvisor: true, overheads });
  expect(Object.fromEntries(overheadsIn(text))).toEqual({
    "trine-vm": (before.get("trine-vm") ?? 0) + 16 * MIB,
    "trine-microvm": before.get("trine-microvm"),
  });
  const names = parseAllDocuments(text).map((each) => each.get("handler"));
  expect(names).toEqual(["trine-vm", "trine-microvm", "gvisor"]);
});

function grown(pid: number): PodSummary {
  const machine = { pid, memoryBytes: 1024 ** 4, firstMemoryBytes: 128 * MIB };
  return { ...samplePod("grown", "5b", machine), level: "microvm" };
}

test("--measure counts what a pod's processes hold, and what it said stays", async () => {
  const dir = await mkdtemp(join(tmpdir(), "trine-measure-"));
  // A program that holds memory stands for a shim: node, some 40 MiB of it its own.
  const program =
    "globalThis.held = Buffer.alloc(160 * 1024 * 1024, 1); console.log('held'); setInterval(() => {}, 1e6)";
  const child = spawn(process.execPath, ["-e", program], { stdio: ["ignore", "pipe", "ignore"] });
  const pods = [
    {
      ...samplePod("web", "5a", { pid: child.pid ?? 0, memoryBytes: 1024 ** 4 }),
      shim: { pid: child.pid ?? 0, version: "1" },
    },
  ];
  const server = createServer((_, response) => {
    response.writeHead(200, { "content-type": "application/json" });
    response.end(JSON.stringify({ items: pods }));
  }).listen(join(dir, "api.sock"));
  try {
    await once(child.stdout, "data");
    const [root, prefix] = [join(dir, "root"), join(dir, "prefix")];
    await makePrefix(prefix);
    await makeRoot(root, { "/etc/containerd/config.toml": "version = 2\n" });
    const argv = ["install", "--root", root, "--prefix", prefix, "--containerd-version", "1.6"];
    const ran = await runWith(dir, [...argv, "--measure"]);
    expect(ran).toMatchObject({
      code: 0,
      stderr: expect.stringMatching(/trine-vm: \d+ MiB at most/) as string,
    });
    const file = join(root, "etc/trine/runtimeclasses.yaml");
    const charged = overheadsIn(await readFile(file, "utf8")).get("trine-vm") ?? 0;
    expect(charged).toBeGreaterThanOrEqual(160 * MIB);
    expect(charged % (16 * MIB)).toBe(0);
    expect((await runWith(dir, argv)).stdout).toMatch(/^nothing to change\n/);
    // Of a guest that was given most of its memory since, the first part is the guest's too.
    pods[0] = { ...grown(child.pid ?? 0), shim: { pid: child.pid ?? 0, version: "1" } };
    const { stderr } = await runWith(dir, [...argv, "--measure"]);
    const [, mib] = /trine-microvm: (\d+) MiB at most/.exec(stderr) ?? [];
    expect(Number(mib)).toBeLessThan(charged / MIB - 160 + LEAST_GUEST_MIB);
    pods.pop();
    expect(await runWith(dir, [...argv, "--measure"])).toMatchObject({
      code: 5,
      stderr: expect.stringMatching(/no pod of Trine runs/) as string,
    });
  } finally {
    child.kill("SIGKILL");
    server.closeAllConnections();
    server.close();
    await rm(dir, { recursive: true });
  }
}, 60_000);
