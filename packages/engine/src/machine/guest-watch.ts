import { TrineError } from "@trine/base";
import type { GuestInterface, GuestVoice, RequestOptions } from "@trine/guest-link";
import type { MachineReport } from "@trine/node-door";
import { cleanAddress, cleanMac, cleanText, cleanTexts } from "./clean.ts";
import { known } from "./guest-info.ts";
import { type GuestUsage, UsageWatch } from "./guest-usage.ts";

const MAX_NICS = 64;
const MAX_ADDRESSES = 32;
/** What seldom changes is asked for as seldom. */
const SYSTEM_MS = 60_000;
const options: RequestOptions = { timeoutMs: 3_000 };

/** A network card as its guest sees it, cleaned. */
export interface GuestNic {
  readonly name: string;
  readonly mac: string | undefined;
  readonly addresses: readonly string[];
}

/** What a guest's agent has said last. */
export interface GuestSaid {
  readonly agent: MachineReport["agent"];
  /** Undefined = it has not said. */
  readonly nics: readonly GuestNic[] | undefined;
}

const SILENT: GuestSaid = { agent: { connected: false, frozen: false }, nics: undefined };

/** Looks at the guest through its agent, when it is asked to; what it found stays until the next look. */
export class GuestWatch {
  readonly #voices: () => readonly GuestVoice[];
  /** Which of them has answered last. */
  #voice: GuestVoice | undefined;
  #said: GuestSaid = SILENT;
  readonly #usage = new UsageWatch();
  #looking: Promise<void> | undefined;
  /** On the monotonic clock. */
  #systemAt = -Infinity;

  /** `voices`: who may speak for the guest that runs now, best first. */
  constructor(voices: () => readonly GuestVoice[]) {
    this.#voices = voices;
  }

  /** Who speaks for the guest. Kind `wrongState` where nobody does. */
  async voice(): Promise<GuestVoice> {
    if (this.#known() === undefined) await this.look();
    const known = this.#known() ?? this.#voices()[0];
    if (known !== undefined) return known;
    throw new TrineError("wrongState", "the machine has no agent for its guest");
  }

  get said(): GuestSaid {
    return this.#said;
  }

  /** How full it was when it was asked for that, seldomer than for the rest; undefined: it has not said. */
  get usage(): GuestUsage | undefined {
    return this.#usage.said;
  }

  /** The guest is another, or its agent is gone. */
  forget(): void {
    this.#usage.forget();
    this.#said = SILENT;
    this.#voice = undefined;
    this.#systemAt = -Infinity;
  }

  /** One look at a time: who comes meanwhile waits for that. Never rejects: a silent agent is an answer too. */
  look(): Promise<void> {
    this.#looking ??= this.#look().finally(() => {
      this.#looking = undefined;
    });
    return this.#looking;
  }

  async #look(): Promise<void> {
    const known = this.#known();
    const others = this.#voices().filter((voice) => voice !== known);
    for (const voice of known === undefined ? others : [known, ...others]) {
      if (voice !== this.#voice) this.forget();
      try {
        this.#said = await this.#ask(voice);
        this.#voice = voice;
        // One that is frozen answers no such question. Whoever waits for this look does not wait for that: it may take seconds.
        if (!this.#said.agent.frozen) void this.#usage.look(voice);
        return;
      } catch {
        // Not there, booting, or hanging: what it said before may not hold.
        this.forget();
      }
    }
    this.forget();
  }

  #known(): GuestVoice | undefined {
    const voice = this.#voice;
    return voice !== undefined && this.#voices().includes(voice) ? voice : undefined;
  }

  async #ask(agent: GuestVoice): Promise<GuestSaid> {
    const frozen = await known(agent.isFrozen(options));
    const { agent: before, nics: earlier } = this.#said;
    // One that is frozen answers nothing else.
    if (frozen === true) return { agent: { ...before, connected: true, frozen }, nics: earlier };
    const nics = await known(agent.networkInterfaces(options));
    const system = await this.#system(agent);
    return {
      agent: { ...system, connected: true, frozen: false },
      nics: nics === undefined ? undefined : cleanNics(nics),
    };
  }

  async #system(agent: GuestVoice): Promise<Omit<MachineReport["agent"], "connected" | "frozen">> {
    if (performance.now() - this.#systemAt < SYSTEM_MS) return this.#said.agent;
    const { version } = await agent.info(options);
    const os = await known(agent.osInfo(options));
    const hostname = await known(agent.hostName(options));
    const timezone = await known(agent.timezone(options));
    this.#systemAt = performance.now();
    return {
      version: cleanText(version),
      ...(os === undefined ? {} : { os: cleanTexts({ ...os }) }),
      ...cleanTexts({ hostname }),
      ...(timezone === undefined || !Number.isFinite(timezone.offsetSeconds)
        ? {}
        : {
            timezone: {
              ...cleanTexts({ name: timezone.name }),
              offsetSeconds: timezone.offsetSeconds,
            },
          }),
    };
  }
}

/** Without the guest's loopback. */
function cleanNics(nics: readonly GuestInterface[]): GuestNic[] {
  return nics
    .filter(({ name }) => name !== "lo")
    .slice(0, MAX_NICS)
    .map(({ name, mac, addresses }) => ({
      name: cleanText(name),
      mac: cleanMac(mac),
      addresses: addresses
        .slice(0, MAX_ADDRESSES)
        .map(({ address }) => cleanAddress(address))
        .filter((address) => address !== undefined),
    }));
}
