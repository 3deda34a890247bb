import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { describeMachineDriver } from "./contract.ts";
import { FakeDriver, FakeVmm, MemoryProcessHost, lightSpec, machineSpec } from "./testing.ts";
import { VMM_KEY } from "./machine-driver.ts";

describeMachineDriver("fake", async () => {
  let stalled = false;
  const host = new MemoryProcessHost((child) => new FakeVmm(child, { obeys: true, stalled }));
  const dir = await mkdtemp(join(tmpdir(), "trine-vmm-fake-"));
  const root = {
    name: "root",
    bus: "virtio",
    format: "raw",
    path: "/missing",
    readOnly: false,
  } as const;
  return {
    host,
    spec: machineSpec(),
    brokenSpec: machineSpec({ disks: [root] }),
    brokenLog: "cannot open disk",
    lightSpec: lightSpec(dir),
    images: [join(dir, "slots/first"), join(dir, "slots/second")],
    statePath: join(dir, "state"),
    driver: () => new FakeDriver(),
    guestReady: () => Promise.resolve(),
    stall: () => {
      stalled = true;
    },
    running: () => host.running,
    ended: () => host.ended(VMM_KEY),
    [Symbol.asyncDispose]: () => rm(dir, { recursive: true }),
  };
});

test("channels carry bytes both ways and end with the process", async () => {
  const signal = AbortSignal.timeout(5000);
  const host = new MemoryProcessHost((child) => {
    const agent = child.channel("guest-agent");
    void (async () => {
      for (let bytes; (bytes = await agent.read(signal)) !== undefined;) await agent.write(bytes);
    })();
    return new FakeVmm(child, { obeys: false, stalled: false });
  });
  const machine = await new FakeDriver().start(machineSpec(), host, signal);
  await host.channel("guest-agent").write(new TextEncoder().encode("ping"));
  const echo = await host.channel("guest-agent").read(signal);
  expect(new TextDecoder().decode(echo)).toBe("ping");
  await machine.kill(signal);
  expect(await host.channel("guest-agent").read(signal)).toBeUndefined();
  expect(() => {
    host.reap("other");
  }).not.toThrow();
});

test("a guest that ignores the power button goes on running", async () => {
  const signal = AbortSignal.timeout(5000);
  const host = new MemoryProcessHost(
    (child) => new FakeVmm(child, { obeys: false, stalled: false }),
  );
  const machine = await new FakeDriver().start(machineSpec(), host, signal);
  await machine.powerDown(signal);
  expect(await machine.status(signal)).toBe("running");
});
