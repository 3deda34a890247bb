import { pollUntil } from "@trine/base";
import type { Machine, MachineStatus } from "@trine/vmm";
import { pino } from "pino";
import { expect, test } from "vitest";
import type { PodContext } from "../pod-context.ts";
import type { MachineRecord } from "../pod-document.ts";
import { SoftReboot } from "./soft-reboot.ts";

const SPEC = {} as MachineRecord["spec"];
const WAIT = { ms: 20_000, everyMs: 5 };

/** A machine that writes down what it is told, and what a daemon knows of it. */
class Told {
  readonly life = new AbortController();
  readonly record = { state: "running", spec: SPEC } as MachineRecord;
  readonly calls: string[] = [];
  status: MachineStatus = "running";
  failEnds = 0;
  onSave: () => void = () => undefined;
  readonly machine = {
    status: () => Promise.resolve(this.status),
    powerDown: () => this.#note("powerDown"),
    kill: () => this.#note("kill"),
    onPowerOff: async (action: "end" | "stay") => {
      await this.#note(action);
      if (action === "end" && (this.failEnds -= 1) >= 0) throw new Error("the monitor is lost");
    },
    startAgain: async () => {
      await this.#note("startAgain");
      const wasOff = this.status !== "running";
      this.status = "running";
      return wasOff;
    },
  } as Partial<Machine> as Machine;

  /** As a daemon that has just found the machine. */
  daemon(): SoftReboot {
    return new SoftReboot({
      identity: { name: "pod1" },
      document: { machine: this.record },
      deps: { now: () => new Date(), config: { machines: { powerButtonEveryMs: 1_000 } } },
      log: pino({ level: "silent" }),
      save: () => {
        this.onSave();
        return Promise.resolve();
      },
    } as unknown as PodContext);
  }

  async over(): Promise<void> {
    await pollUntil("over", WAIT, () => (this.record.rebootUntil === undefined ? true : undefined));
    this.life.abort();
  }

  #note(call: string): Promise<void> {
    this.calls.push(call);
    return Promise.resolve();
  }
}

test("a machine that is told to end as its reboot is written down is not rebooted", async () => {
  const told = new Told();
  told.onSave = () => {
    told.record.state = "stopping";
  };
  const begun = told.daemon().begin(told.machine, told.life.signal);
  await expect(begun).rejects.toMatchObject({ kind: "wrongState" });
  expect([told.record, told.calls]).toEqual([{ state: "stopping", spec: SPEC }, []]);
});

test("a reboot that is called off as it is written down is not begun", async () => {
  const told = new Told();
  const reboot = told.daemon();
  told.onSave = () => {
    reboot.stop();
  };
  await reboot.begin(told.machine, told.life.signal);
  expect(told.calls).toEqual([]);
});

test("a reboot that was cut off after the reset is gone on with, or ended", async () => {
  const told = new Told();
  told.record.rebootUntil = new Date(Date.now() + 60_000).toISOString();
  told.status = "starting";
  told.daemon().resume(told.machine, told.life.signal);
  await told.over();
  expect(told.calls).toEqual(["stay", "startAgain", "end"]);

  const other = new Told();
  other.record.rebootUntil = new Date(Date.now() + 60_000).toISOString();
  other.status = "starting";
  await other.daemon().cancel(other.machine);
  expect(other.calls).toEqual(["end", "kill"]);
});

test("a guest that has begun anew hears no button again, whatever failed after that and for whichever daemon", async () => {
  const told = new Told();
  told.status = "off";
  told.failEnds = 1;
  const reboot = told.daemon();
  await reboot.begin(told.machine, told.life.signal);
  await pollUntil("cut off", WAIT, () => (told.calls.includes("end") ? true : undefined));
  reboot.stop();
  expect(told.record).toMatchObject({ rebootOff: true, rebootUntil: expect.any(String) as string });
  told.daemon().resume(told.machine, told.life.signal);
  await told.over();
  expect(told.calls).toEqual(["stay", "startAgain", "end", "startAgain", "end"]);
  expect(told.record).toEqual({ state: "running", spec: SPEC });
});

test("a machine that ends at a reboot ends by the button", async () => {
  const told = new Told();
  told.record.spec = { hardware: { endsOnReboot: true } } as MachineRecord["spec"];
  const reboot = told.daemon();
  await reboot.begin(told.machine, told.life.signal);
  await pollUntil("pressed", WAIT, () => (told.calls.includes("powerDown") ? true : undefined));
  reboot.stop();
  expect(told.calls).not.toContain("stay");
});
