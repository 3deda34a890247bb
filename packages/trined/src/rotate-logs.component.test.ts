// Logs of pods made by hand, rotated while a container writes them, on the real containerd.
import { mkdtemp, readFile, readdir, rename, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pollUntil } from "@trine/base";
import { busyboxImage, parseCriLog, startContainerd } from "@trine/testkit";
import type { Containerd } from "@trine/testkit";
import { afterAll, beforeAll, expect, test } from "vitest";
import { rotateLogs } from "./rotate-logs.ts";

let containerd: Containerd;
let dir: string;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-rotate-"));
  containerd = await startContainerd({ version: "2.4", dir: join(dir, "c") });
  await containerd.importImage(await busyboxImage());
}, 600_000);

afterAll(async () => {
  expect(await containerd.removePods()).toEqual([]);
  expect(await containerd.stop()).toEqual([]);
  await rm(dir, { recursive: true });
});

test("no line is lost or doubled over rotations, and old files go", async () => {
  const { runtime } = containerd.cri;
  const logDirectory = join(dir, "pods/uid/logs");
  const sandbox = { ...containerd.podConfig({ name: "chatty" }), logDirectory };
  const { podSandboxId } = await runtime.runPodSandbox({ config: sandbox });
  const script = "i=0; while [ $i -lt 4000 ]; do echo line-$i; i=$((i+1)); done; sleep 1000";
  const { containerId } = await runtime.createContainer({
    podSandboxId,
    sandboxConfig: sandbox,
    config: {
      metadata: { name: "main", attempt: 0 },
      image: { image: "trine.test/busybox:1" },
      command: ["sh", "-c", script],
      logPath: "main/0.log",
    },
  });
  await runtime.startContainer({ containerId });
  const config = { dir, containerd: containerd.socket, maxBytes: 20_000, maxFiles: 100 };
  const logs = join(logDirectory, "main");
  const lines = async (): Promise<string> => {
    const names = (await readdir(logs)).sort((a, b) =>
      a.length === b.length ? (a < b ? -1 : 1) : b.length - a.length,
    );
    return (await Promise.all(names.map((name) => readFile(join(logs, name), "utf8"))))
      .map(parseCriLog)
      .join("");
  };
  await pollUntil("all is written", { ms: 60_000, everyMs: 20 }, async () => {
    await rotateLogs(config);
    return (await lines()).includes("line-3999\n") ? true : undefined;
  });
  const wanted = Array.from({ length: 4000 }, (_, index) => `line-${index}\n`).join("");
  expect(await lines()).toBe(wanted);
  expect((await readdir(logs)).length).toBeGreaterThan(1);
  expect(await rotateLogs({ ...config, maxBytes: -1, maxFiles: 2 })).toBe(1);
  expect(await readdir(logs)).toHaveLength(2);

  // Killed after the name was taken and before the runtime was told.
  const log = join(logs, "0.log");
  await rename(log, `${log}.20260101T000000000`);
  expect(await rotateLogs(config)).toBe(0);
  expect((await readdir(logs)).includes("0.log")).toBe(true);
}, 180_000);
