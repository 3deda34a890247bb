import { readdirSync } from "node:fs";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { text } from "node:stream/consumers";
import { expect, test } from "vitest";
import { toImageObject } from "../images/image-view.ts";
import type { UsedImage } from "../images/image-view.ts";
import { toPodObject } from "../pods/pod-object.ts";
import type { ContainerView, PodView } from "../pods/pod-view.ts";
import { parseAs } from "../testing/schema.ts";
import { asList } from "./print-list.ts";
import { Progress } from "./progress.ts";

const CONTAINER: ContainerView = {
  ...{ id: "c1", name: "main", image: "x.test/a:1", state: "running", attempt: 2 },
  ...{ startedAt: 1_700_000_000_000, finishedAt: 0, exitCode: 0, reason: "", message: "" },
  logPath: "/logs/0.log",
};
const POD: PodView = {
  ...{ namespace: "default", name: "web", uid: "u", labels: { app: "web" }, annotations: {} },
  ...{ handler: "trine-vm", level: "vm", sandboxId: "s1", ready: true, attempt: 0 },
  ...{ createdAt: 1_700_000_000_000, ips: ["10.0.0.7", "fd00::7"], olderSandboxes: [] },
  containers: (["created", "running", "exited", "unknown"] as const).map((state) => ({
    ...CONTAINER,
    ...{ name: state, state, exitCode: state === "exited" ? 3 : 0 },
  })),
};
const LOST: PodView = {
  ...POD,
  ...{ handler: "", level: "container", sandboxId: "", ready: false, createdAt: 0 },
  ...{ ips: [], containers: [] },
};

test("each schema is one that a validator takes", () => {
  const dir = join(import.meta.dirname, "../../../../docs/schemas");
  const names = readdirSync(dir).map((file) => file.replace(/\.json$/, ""));
  expect(names).toHaveLength(11);
  for (const name of names) expect(() => parseAs(name, "null")).toThrow("not as docs/schemas");
});

test("ps: pods with containers in every state, and one whose sandbox is lost", () => {
  const shown = asList([POD, LOST].map(toPodObject));
  expect(parseAs("ps", JSON.stringify(shown))).toMatchObject({ items: [{}, {}] });
  const more = { ...shown, items: [{ ...toPodObject(POD), more: 1 }] };
  expect(() => parseAs("ps", JSON.stringify(more))).toThrow(
    "data/items/0 must NOT have additional properties",
  );
  const { status, ...less } = toPodObject(POD);
  expect(status.phase).toBe("Running");
  expect(() => parseAs("ps", JSON.stringify(asList([less])))).toThrow(
    "data/items/0 must have required property 'status'",
  );
});

test("image: of a machine, of containers, and one that is not all here", () => {
  const part = { mediaType: "x", digest: "sha256:0", sizeBytes: 1 };
  const bare: UsedImage = {
    ...{ name: "x.test/a:1", target: part, architecture: "", labels: {}, isPinned: false },
    ...{ createdAt: 0, sizeBytes: 1, usedBy: [] },
  };
  const whole = { ...bare, manifest: { digest: "d", config: part, layers: [part] } };
  const machine = { ...whole, machine: { format: "qcow2", virtualSizeBytes: 2 ** 40 } };
  const shown = [bare, whole, machine].map(toImageObject);
  parseAs("image", JSON.stringify(asList(shown)));
  for (const one of shown) parseAs("image", JSON.stringify(one));
});

test("progress: each line, whether bytes are counted or not", async () => {
  const stderr = new PassThrough();
  const progress = new Progress({ stderr }, "json");
  progress.step("default/web", "creating the sandbox");
  progress.amount("x.test/a:1", "downloading", 0, undefined);
  progress.amount("x.test/a:1", "reading", 5, 10);
  stderr.end();
  const lines = (await text(stderr)).trim().split("\n");
  expect(lines.map((line) => parseAs("progress", line))).toEqual([
    { object: "default/web", step: "creating the sandbox" },
    { object: "x.test/a:1", step: "downloading", bytes: 0 },
    { object: "x.test/a:1", step: "reading", bytes: 5, totalBytes: 10 },
  ]);
});
