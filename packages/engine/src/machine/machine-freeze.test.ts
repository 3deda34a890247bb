import { TrineError, pollUntil } from "@trine/base";
import { GuestAgent } from "@trine/guest-link";
import type { GuestVoice, Thawed } from "@trine/guest-link";
import { AgentRefusal, FakeGuestAgent } from "@trine/guest-link/testing";
import { pino } from "pino";
import { expect, test } from "vitest";
import type { PodContext } from "../pod-context.ts";
import type { MachineRecord } from "../pod-document.ts";
import { MachineFreeze } from "./machine-freeze.ts";

const SOON_MS = 30;
const AN_HOUR_MS = 3_600_000;

/** A guest that freezes and thaws, two agents that each believe what they have done, and what a daemon knows of its machine. */
class FrozenGuest {
  readonly life = new AbortController();
  readonly saved: (string | undefined)[] = [];
  readonly record = {} as MachineRecord;
  /** Nothing can be written, whatever an agent believes. */
  isFrozen = false;
  isQemuSilent = false;
  #isQemus = false;
  #isOurs = false;
  readonly #agent: GuestAgent;
  /** What Trine's says; an older one thaws nothing of others'. */
  oursThaws: Thawed = "own";
  readonly #ours = {
    name: "trine",
    isFrozen: () => Promise.resolve(this.#isOurs),
    freeze: ({ forMs }) => {
      this.freezes.push(forMs);
      if (!this.#isOurs) this.isFrozen = true;
      this.#isOurs = true;
      return Promise.resolve();
    },
    thaw: () => {
      this.thaws += 1;
      if (this.oursThaws === "all" || (this.#isOurs && this.oursThaws === "own")) {
        this.isFrozen = false;
      }
      this.#isOurs = false;
      return Promise.resolve(this.oursThaws);
    },
  } satisfies Partial<GuestVoice> as unknown as GuestVoice;
  readonly freezes: number[] = [];
  thaws = 0;

  constructor() {
    const fake = new FakeGuestAgent({
      "guest-fsfreeze-status": () => (this.#isQemus ? "frozen" : "thawed"),
      "guest-fsfreeze-freeze": () => {
        if (this.#isQemus) throw new AgentRefusal("it is frozen");
        this.#isQemus = true;
        this.isFrozen = true;
        return 1;
      },
      "guest-fsfreeze-thaw": () => {
        if (this.isQemuSilent) throw new AgentRefusal("not now");
        this.#isQemus = false;
        this.isFrozen = false;
        return 1;
      },
    });
    this.#agent = new GuestAgent(fake, { signal: this.life.signal });
  }

  /** As a daemon that has just found the machine. */
  daemon(): MachineFreeze {
    const pod = {
      document: { machine: this.record },
      deps: { now: () => new Date() },
      log: pino({ level: "silent" }),
      save: () => {
        this.saved.push(this.record.frozenUntil);
        return Promise.resolve();
      },
    } as unknown as PodContext;
    return new MachineFreeze(
      pod,
      () => Promise.resolve(this.isQemuSilent ? this.#ours : this.#agent),
      () => [this.#agent, this.#ours],
    );
  }

  until(isFrozen: boolean): Promise<true> {
    return pollUntil(`frozen: ${isFrozen}`, { ms: 20_000, everyMs: 5 }, () =>
      this.isFrozen === isFrozen && (this.record.frozenUntil !== undefined) === isFrozen
        ? true
        : undefined,
    );
  }
}

test("a guest that nobody thaws is thawed when its time is over", async () => {
  const guest = new FrozenGuest();
  await guest.daemon().freeze(SOON_MS, guest.life.signal);
  await guest.until(false);
  // Written down before it was frozen, and struck out after it was thawed.
  expect(guest.saved).toEqual([expect.any(String), undefined]);
  guest.life.abort();
});

test("a daemon that comes back thaws what is overdue, and keeps what is not", async () => {
  const guest = new FrozenGuest();
  const first = guest.daemon();
  await first.freeze(AN_HOUR_MS, guest.life.signal);
  first.stop();
  const second = guest.daemon();
  second.resume(guest.life.signal);
  expect(guest.isFrozen).toBe(true);
  await second.thaw();
  expect(guest.isFrozen).toBe(false);

  await second.freeze(AN_HOUR_MS, guest.life.signal);
  second.stop();
  guest.record.frozenUntil = new Date(0).toISOString();
  guest.daemon().resume(guest.life.signal);
  await guest.until(false);
  guest.life.abort();
});

test("a thaw is told to the agent that has frozen the guest, and an older one of Trine's is not believed for it", async () => {
  const guest = new FrozenGuest();
  const freeze = guest.daemon();
  await freeze.freeze(AN_HOUR_MS, guest.life.signal);
  expect(guest.record.frozenBy).toBe("qemu");
  guest.isQemuSilent = true;
  await expect(freeze.thaw()).rejects.toMatchObject({ kind: "unavailable" });
  expect([guest.thaws, guest.isFrozen, guest.record.frozenBy]).toEqual([1, true, "qemu"]);
  guest.isQemuSilent = false;
  await guest.daemon().thaw();
  expect([guest.thaws, guest.isFrozen, guest.record]).toEqual([1, false, {}]);
  guest.life.abort();
});

test("where the agent that has frozen the guest never returns, another thaws it", async () => {
  const guest = new FrozenGuest();
  const freeze = guest.daemon();
  await freeze.freeze(AN_HOUR_MS, guest.life.signal);
  guest.isQemuSilent = true;
  guest.oursThaws = "all";
  await freeze.thaw();
  expect([guest.thaws, guest.isFrozen, guest.record]).toEqual([1, false, {}]);
  // It returns after all, and believes what is over.
  guest.isQemuSilent = false;
  await freeze.freeze(AN_HOUR_MS, guest.life.signal);
  expect([guest.isFrozen, guest.record.frozenBy]).toEqual([true, "qemu"]);
  // Once more is a new time, and no moment in which anything is written.
  await freeze.freeze(2 * AN_HOUR_MS, guest.life.signal);
  expect(guest.isFrozen).toBe(true);
  guest.life.abort();
});

test("what Trine's agent believes to have frozen, and another has thawed, it freezes anew", async () => {
  const guest = new FrozenGuest();
  guest.isQemuSilent = true;
  const freeze = guest.daemon();
  await freeze.freeze(AN_HOUR_MS, guest.life.signal);
  guest.isFrozen = false;
  await freeze.reset();
  await freeze.freeze(AN_HOUR_MS, guest.life.signal);
  expect([guest.isFrozen, guest.record.frozenBy]).toEqual([true, "trine"]);
  guest.life.abort();
});

test.each<Thawed>(["some", "own"])(
  "where Trine's agent has thawed %s of it, what it has frozen is forgotten only when it says so",
  async (thawed) => {
    const guest = new FrozenGuest();
    guest.isQemuSilent = true;
    const freeze = guest.daemon();
    await freeze.freeze(AN_HOUR_MS, guest.life.signal);
    guest.oursThaws = thawed;
    const said = await freeze.thaw().then(
      () => "thawed",
      () => "not",
    );
    expect([said, guest.record.frozenBy]).toEqual(
      thawed === "own" ? ["thawed", undefined] : ["not", "trine"],
    );
    guest.life.abort();
  },
);

test("where nobody has frozen the guest a thaw is a success", async () => {
  const guest = new FrozenGuest();
  guest.isQemuSilent = true;
  guest.oursThaws = "some";
  await guest.daemon().thaw();
  expect([guest.thaws, guest.record]).toEqual([1, {}]);
  guest.life.abort();
});

test("what Trine's agent has frozen any agent thaws; asked again it takes the new time", async () => {
  const guest = new FrozenGuest();
  guest.isQemuSilent = true;
  const freeze = guest.daemon();
  await freeze.freeze(AN_HOUR_MS, guest.life.signal);
  guest.isQemuSilent = false;
  await freeze.freeze(2 * AN_HOUR_MS, guest.life.signal);
  expect(guest.freezes).toEqual([AN_HOUR_MS + 10_000, 2 * AN_HOUR_MS + 10_000]);
  await freeze.thaw();
  expect([guest.thaws, guest.record]).toEqual([1, {}]);
  guest.life.abort();
});

test("a guest that begins anew is not frozen", async () => {
  const guest = new FrozenGuest();
  const freeze = guest.daemon();
  await freeze.freeze(AN_HOUR_MS, guest.life.signal);
  await freeze.reset();
  expect([guest.record, guest.saved.at(-1)]).toEqual([{}, undefined]);
  guest.life.abort();
});

test("a time that is none is refused, and nothing is frozen", async () => {
  const guest = new FrozenGuest();
  for (const ms of [0, -1, Number.NaN, Infinity]) {
    const frozen = guest.daemon().freeze(ms, guest.life.signal);
    await expect(frozen).rejects.toBeInstanceOf(TrineError);
  }
  expect([guest.isFrozen, guest.saved]).toEqual([false, []]);
});
