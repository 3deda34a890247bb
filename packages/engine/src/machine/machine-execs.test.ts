import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { TrineError, pollUntil } from "@trine/base";
import { createOverlay } from "@trine/disk-images";
import { FakeAgent } from "@trine/guest-link/testing";
import { CreateContainerRequestSchema, ReviveRequestSchema } from "@trine/proto/agent";
import { Status } from "@trine/proto/task";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { Pod } from "../pod.ts";
import { OnePod } from "../testing/test-engine.ts";

const MIB = 1024 * 1024;
const signal = AbortSignal.timeout(60_000);

let one: OnePod;
let agent: FakeAgent;
let pod: Pod;

/** A machine that may have our agent, which has not started in its guest yet. */
beforeEach(async () => {
  const annotations = {
    "io.kubernetes.cri.sandbox-name": "pod1",
    ...{ "trine.dev/agent": "on", "trine.dev/max-cpus": "4" },
  };
  const sandbox = { ...annotations, "io.kubernetes.cri.container-type": "sandbox" };
  const config = { hostname: "pod1", annotations, linux: {} };
  one = await OnePod.make({ ...config, annotations: sandbox });
  agent = new FakeAgent(join(one.podDir, "guest.sock"));
  agent.revived = create(ReviveRequestSchema);
  agent.containers.set("machine", create(CreateContainerRequestSchema));
  const bundle = await one.bundle("c1", config);
  await mkdir(join(bundle, "rootfs/disk"));
  await createOverlay(join(bundle, "rootfs/disk/disk.qcow2"), { virtualSizeBytes: 8 * MIB });
  pod = await one.engine().pod(one.ref);
  await pod.create({ id: "c1", bundle, rootfs: [], terminal: false, stdin: false });
  await pod.start({ id: "c1", execId: "" }, signal);
});

afterEach(async () => {
  await agent.die();
  await one[Symbol.asyncDispose]();
});

const exec = { id: "c1", execId: "e1", argv: ["sh"], env: ["A=b"], process: new Uint8Array() };

test("an exec goes to our agent: with a terminal, its size, and an end by signal", async () => {
  await agent.listen();
  await pod.addExec({ ...exec, terminal: true, stdin: true });
  const place = { id: "c1", execId: "e1", guestContainer: "machine", guestExec: "e1" };
  expect(one.shim.attached).toMatchObject([{ ...place, terminal: true }]);
  await pod.start({ id: "c1", execId: "e1" }, signal);
  expect(one.shim.statuses.get("c1/e1")).toMatchObject({ status: Status.RUNNING });
  one.shim.tell({ case: "resize", value: { id: "c1", execId: "e1", width: 91, height: 17 } });
  await pollUntil("resized", { ms: 5_000, everyMs: 5 }, () => agent.sizes[0]);
  expect(agent.sizes).toMatchObject([{ width: 91, height: 17 }]);
  await pod.kill({ id: "c1", execId: "e1" }, { signal: 15, all: true });
  expect(agent.signals).toMatchObject([{ signal: 15, all: false }]);
});

test("of a guest whose agent is gone an exec can be ended all the same, but not asked to end", async () => {
  await agent.listen();
  await pod.addExec({ ...exec, terminal: false, stdin: false });
  await pod.start({ id: "c1", execId: "e1" }, signal);
  const process = { id: "c1", execId: "e1" };
  const late = (): void => {
    agent.failOnce("signal", new TrineError("timeout", "nobody there"));
  };
  late();
  await expect(pod.kill(process, { signal: 15, all: false })).rejects.toThrow(/nobody there/);
  late();
  await pod.kill(process, { signal: 9, all: false });
  const end = { status: Status.STOPPED, exitStatus: 137 };
  expect(one.shim.statuses.get("c1/e1")).toMatchObject(end);
});

test("a guest without an agent's answer is asked for figures once, and again when the agent has answered", async () => {
  await pod.stats("c1", signal);
  await agent.listen();
  await pod.stats("c1", signal);
  expect(agent.calls).not.toContain("stats");
  await pod.addExec({ ...exec, terminal: false, stdin: false });
  await pod.stats("c1", signal);
  expect(agent.calls).toContain("stats");
});

test("before the agent answers a terminal is refused, and it is said why", async () => {
  const asked = pod.addExec({ ...exec, terminal: true, stdin: false });
  await expect(asked).rejects.toMatchObject({
    kind: "unimplemented",
    message: expect.stringMatching(
      /agent does not answer in this guest \(yet\).*terminal/,
    ) as string,
  });
});

test("what is plugged in is put into use by our agent where it answers", async () => {
  await agent.listen();
  let asked = 0;
  agent.cpus = () => {
    asked += 1;
    return one.driver.size.cpus;
  };
  await pod.update("c1", Buffer.from(JSON.stringify({ cpu: { quota: 3e5, period: 1e5 } })));
  expect(one.driver.size.cpus).toBe(3);
  expect(asked).toBe(3);
});
