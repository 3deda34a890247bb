import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { TrineError } from "@trine/base";
import { parseManifest } from "@trine/pod-spec";
import { expect, test } from "vitest";
import { placesOf, runWith } from "../testing.ts";
import { withAll } from "./create-pods.ts";
import { PodRecords } from "./pod-records.ts";

const MANIFEST = JSON.stringify({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name: "web" },
  spec: { containers: [{ name: "main", image: "x" }] },
});

test("after a failed start all is done, and what fails then is told with the cause and its kind", async () => {
  const cause = new TrineError("notFound", "no image");
  const done: string[] = [];
  const note = (): Promise<void> => Promise.reject(new Error("disk full"));
  const remove = (): Promise<void> => {
    done.push("removed");
    return Promise.resolve();
  };
  await expect(withAll(cause, [note, remove])).rejects.toMatchObject({
    kind: "notFound",
    message: "no image; and after that: disk full",
  });
  await withAll(cause, [remove]);
  expect(done).toEqual(["removed", "removed"]);
});

test("a pod as the file says is left alone, but not one whose removal was interrupted", async () => {
  const dir = await mkdtemp(join(tmpdir(), "trine-apply-"));
  try {
    const file = join(dir, "web.json");
    await writeFile(file, MANIFEST);
    const [pod] = parseManifest(MANIFEST, file).pods;
    if (pod === undefined) throw new Error("no pod");
    const records = new PodRecords(placesOf(dir));
    const nothing = { configMaps: {}, secrets: {}, claims: {} };
    const { uid } = await records.create({ pod, ...nothing, cgroupParent: "" });
    const before = await runWith(dir, ["apply", "-f", file]);
    expect(before).toEqual({ code: 0, stdout: "default/web unchanged\n", stderr: "" });
    await records.markRemoving(uid);
    const after = await runWith(dir, ["apply", "-f", file]);
    expect(after).toMatchObject({ code: 5, stdout: "" });
    expect(after.stderr).toContain("`trine rm default/web` was not finished: repeat it");
  } finally {
    await rm(dir, { recursive: true });
  }
});
