import type { Machine, MachineStatus } from "@trine/vmm";
import { pino } from "pino";
import { expect, test } from "vitest";
import type { PodContext } from "../pod-context.ts";
import { MachineHalt } from "./machine-halt.ts";

const pod = { deps: {}, log: pino({ level: "silent" }) } as unknown as PodContext;

test("a look that was under way as the guest went on says nothing of it", async () => {
  const { promise, resolve } = Promise.withResolvers<MachineStatus>();
  const halt = new MachineHalt(
    pod,
    () => ({ status: () => promise }) as Partial<Machine> as Machine,
  );
  const look = halt.look();
  halt.onEvent({ at: new Date(0), what: "running" });
  resolve("crashed");
  await look;
  expect([halt.why, halt.isCrashed]).toEqual([undefined, false]);
});

test("what was wrong with a disk is not told of a halt after it went on", async () => {
  const status = (): Promise<MachineStatus> => Promise.resolve("io-error");
  const halt = new MachineHalt(pod, () => ({ status }) as Partial<Machine> as Machine);
  halt.onEvent({ at: new Date(0), what: "io-error", detail: "root" });
  await halt.look();
  expect(halt.why).toBe("a disk could not be read or written (root)");
  halt.onEvent({ at: new Date(0), what: "running" });
  await halt.look();
  expect(halt.why).toBe("a disk could not be read or written");
});
