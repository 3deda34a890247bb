import { isIP } from "node:net";
import { TrineError } from "@trine/base";
import type { GuestInfoResponse } from "@trine/proto/agent";
import type { AgentClient } from "./agent-client.ts";
import type { RequestOptions } from "./agent-link.ts";
import type { GuestInterface, GuestOs } from "./guest-agent.ts";
import type { GuestFileSystem, GuestLoad, GuestTimezone, GuestUser } from "./guest-says.ts";
import type { GuestVoice, Thawed } from "./guest-voice.ts";

/** One look at the guest asks several questions: one answer is for all of them. */
const SAME_MS = 1_000;
/** Its calls that KubeVirt's names exist for. */
const COMMANDS = ["guest-info", "guest-fsfreeze-freeze", "guest-fsfreeze-thaw", "guest-exec"];
const OS_LINE = /^([A-Z_]{1,32})=(?:"(.*)"|'(.*)'|(.*))$/;

/** Trine's own agent in a whole machine's guest, where nobody else speaks for it. What it says is hostile. */
export class AgentVoice implements GuestVoice {
  readonly name = "trine";
  readonly #client: () => AgentClient | undefined;
  #answer: { readonly at: number; readonly info: Promise<GuestInfoResponse> } | undefined;

  /** `client`: undefined while the machine does not run. */
  constructor(client: () => AgentClient | undefined) {
    this.#client = client;
  }

  async info(
    options?: RequestOptions,
  ): Promise<{ version: string; enabledCommands: ReadonlySet<string> }> {
    const { version } = await this.#ask(options);
    return { version: `trine-agent ${version}`, enabledCommands: new Set(COMMANDS) };
  }

  /** Always asked: what follows from it cannot wait for an answer to become old. */
  async isFrozen(options?: RequestOptions): Promise<boolean> {
    this.#answer = undefined;
    return (await this.#ask(options)).frozen;
  }

  async networkInterfaces(options?: RequestOptions): Promise<readonly GuestInterface[]> {
    const { interfaces } = await this.#ask(options);
    return interfaces.map(({ name, mac, addresses }) => ({
      ...{ name, mac },
      addresses: addresses.map((address) => {
        const isFour = isIP(address) === 4;
        return { family: isFour ? "ipv4" : "ipv6", address, prefix: isFour ? 32 : 128 } as const;
      }),
    }));
  }

  async osInfo(options?: RequestOptions): Promise<GuestOs> {
    const { osRelease, kernelRelease, kernelVersion, machine } = await this.#ask(options);
    const of = readOsRelease(osRelease);
    return {
      id: of.get("ID"),
      name: of.get("NAME"),
      prettyName: of.get("PRETTY_NAME"),
      version: of.get("VERSION"),
      versionId: of.get("VERSION_ID"),
      ...{ kernelRelease, kernelVersion, machine },
    };
  }

  async hostName(options?: RequestOptions): Promise<string> {
    return (await this.#ask(options)).hostname;
  }

  async timezone(options?: RequestOptions): Promise<GuestTimezone> {
    const { timezone, offsetSeconds } = await this.#ask(options);
    return { name: timezone === "" ? undefined : timezone, offsetSeconds };
  }

  async users(options?: RequestOptions): Promise<readonly GuestUser[]> {
    const { users } = await this.#ask(options);
    return users.map(({ name, loginSeconds }) => ({
      ...{ name, domain: undefined, loginTime: Number(loginSeconds) },
    }));
  }

  async fileSystems(options?: RequestOptions): Promise<readonly GuestFileSystem[]> {
    const { fileSystems } = await this.#ask(options);
    return fileSystems.map(({ device, mountPoint, type, usedBytes, totalBytes, serial }) => ({
      ...{ diskName: device, mountPoint, type },
      ...{ usedBytes: Number(usedBytes), totalBytes: Number(totalBytes) },
      disks: [{ serial: serial === "" ? undefined : serial, bus: undefined }],
    }));
  }

  load(): Promise<GuestLoad> {
    return Promise.reject(new TrineError("unimplemented", "Trine's agent tells no load"));
  }

  async freeze(options: RequestOptions & { readonly forMs: number }): Promise<void> {
    await this.#change(this.#agent().freeze(options.forMs, options));
  }

  thaw(options?: RequestOptions): Promise<Thawed> {
    return this.#change(this.#agent().thaw(options));
  }

  /** What was answered while it was under way holds no more either. */
  async #change<T>(change: Promise<T>): Promise<T> {
    try {
      return await change;
    } finally {
      this.#answer = undefined;
    }
  }

  #ask(options: RequestOptions = {}): Promise<GuestInfoResponse> {
    const now = performance.now();
    if (this.#answer !== undefined && now - this.#answer.at < SAME_MS) return this.#answer.info;
    const info = this.#agent().guestInfo(options);
    const answer = { at: now, info };
    this.#answer = answer;
    info.catch(() => {
      if (this.#answer === answer) this.#answer = undefined;
    });
    return info;
  }

  #agent(): AgentClient {
    const agent = this.#client();
    if (agent !== undefined) return agent;
    throw new TrineError("unavailable", "the machine does not run");
  }
}

/** os-release(5), as far as anybody asks for it: what a shell would make of escapes in it is not made here. */
export function readOsRelease(text: string): ReadonlyMap<string, string> {
  const lines = text.split("\n", 64).flatMap((line) => {
    const [, key, double, single, bare] = OS_LINE.exec(line.slice(0, 1_024).trim()) ?? [];
    const value = double ?? single ?? bare ?? "";
    return key === undefined || value === "" ? [] : [[key, value] as const];
  });
  return new Map(lines);
}
