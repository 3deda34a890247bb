import { mkdir, rename, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { pollUntil } from "@trine/base";
import { afterEach, beforeEach, expect, test } from "vitest";
import { encodeDocument } from "../pod-document.ts";
import { endTemplate } from "./end-template.ts";
import { FakeShim } from "../testing/fake-shim.ts";
import { FIRST_UID, OnePod } from "../testing/test-engine.ts";

const NAME = "abc1234";

let one: OnePod;
let spare: FakeShim;
let dir: string;

beforeEach(async () => {
  one = await OnePod.make({ hostname: "pod1", annotations: {} });
  one.pool = [{ count: 1 }]; // without a guest's image it can be kept and not made
  await one.shim.die();
  await rm(one.podDir, { recursive: true });
  await mkdir(dirname(one.podDir), { recursive: true });
  dir = join(one.dir, "state/spares/1-128", NAME);
  spare = new FakeShim({ sandboxId: NAME, bundle: "", podDir: dir });
  await spare.listen();
  spare.state = encodeDocument({
    version: 1,
    execs: {},
    spare: {
      name: NAME,
      key: "k",
      guest: {
        taskId: "",
        uid: FIRST_UID,
        oomScoreAdj: 0,
        state: "booting",
        containers: {},
        spec: {
          ...{ id: NAME, uuid: "u", cpus: 1, memoryBytes: 1 << 27, accelerator: "tcg" },
          ...{ disks: [], nics: [], display: false, guestAgent: false, console: "serial" },
        },
      },
    },
  });
  await writeFile(join(dir, "uid"), `${FIRST_UID}`);
  await writeFile(join(dir, "ready"), "");
});

afterEach(async () => {
  await spare.die();
  await one[Symbol.asyncDispose]();
});

/** As `start` of a shim does it. */
async function claim(): Promise<void> {
  await rename(dir, one.podDir);
  Object.assign(spare.pod, { sandboxId: "sandbox1", podDir: one.podDir });
}

const nextUid = (): number => {
  const uid = one.uids.take("another pod");
  one.uids.release("another pod");
  return uid;
};

test("one that is ready is kept, with its user id", async () => {
  const engine = one.engine();
  await engine.adoptAll();
  expect(nextUid()).toBe(FIRST_UID + 1);
});

test("the user id of one whose shim does not answer is not given again", async () => {
  spare.failOnce("describe");
  await one.engine().adoptAll();
  expect(nextUid()).toBe(FIRST_UID + 1);
});

test("nor is that of one that was claimed while no daemon was there, and does not answer", async () => {
  await claim();
  spare.failOnce("describe");
  await one.engine().adoptAll();
  expect(nextUid()).toBe(FIRST_UID + 1);
});

test("one that is claimed for a pod that never comes has its user id until its shim ends", async () => {
  const engine = one.engine();
  await engine.adoptAll();
  await claim();
  const earlier = spare.calls.length;
  await pollUntil("the pool has looked", { ms: 4_000, everyMs: 5 }, () => {
    engine.spares.claimed("another", false);
    return spare.calls.slice(earlier).includes("describe") ? true : undefined;
  });
  expect(nextUid()).toBe(FIRST_UID + 1);
  expect(spare.calls).not.toContain("end");
  await rm(one.podDir, { recursive: true });
  await spare.die();
  await pollUntil("its id is free", { ms: 5_000, everyMs: 5 }, () =>
    nextUid() === FIRST_UID ? true : undefined,
  );
});

test("one that dies in its place is removed, and its user id is free", async () => {
  const engine = one.engine();
  await engine.adoptAll();
  await rm(join(dir, "shim.sock"));
  await spare.die();
  await pollUntil("its id is free", { ms: 5_000, everyMs: 5 }, () =>
    nextUid() === FIRST_UID ? true : undefined,
  );
});

test("a template's or a spare's end says whether there was one", async () => {
  await claim();
  expect(await endTemplate(dir)).toBe(false);
  await spare.die();
  await rm(join(one.podDir, "shim.sock"), { force: true });
  expect(await endTemplate(one.podDir)).toBe(true);
  expect(await endTemplate(one.podDir)).toBe(false);
});
