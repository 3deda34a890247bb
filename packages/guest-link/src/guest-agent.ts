import type * as v from "valibot";
import { TrineError } from "@trine/base";
import type { ByteChannel } from "@trine/vmm";
import { AgentLink } from "./agent-link.ts";
import type { RequestOptions } from "./agent-link.ts";
import {
  blocksSchema,
  cpusSchema,
  execSchema,
  execStatusSchema,
  fileSystemsSchema,
  freezeStatusSchema,
  hostNameSchema,
  infoSchema,
  interfacesSchema,
  loadSchema,
  osInfoSchema,
  parseAnswer,
  timezoneSchema,
  usersSchema,
} from "./schemas.ts";
import type { GuestFileSystem, GuestLoad, GuestTimezone, GuestUser } from "./guest-says.ts";

const MAX_INPUT_BYTES = 1 << 20;
const NS_PER_MS = 1e6;

export interface GuestCommand {
  /** Program in the guest; looked up in the agent's PATH unless absolute. */
  readonly path: string;
  readonly args: readonly string[];
  /** NAME=value; empty = the agent's own environment. */
  readonly env: readonly string[];
  readonly captureOutput: boolean;
  /** Standard input, at most 1 MiB. */
  readonly input?: Uint8Array;
}

export interface ExecStatus {
  readonly exited: boolean;
  /** Undefined while it runs, and when a signal ended it. */
  readonly exitCode: number | undefined;
  readonly signal: number | undefined;
  /** At most 16 MiB each, given once it has exited. */
  readonly stdout: Uint8Array;
  readonly stderr: Uint8Array;
  readonly truncated: boolean;
}

export interface GuestInterface {
  readonly name: string;
  readonly mac: string | undefined;
  readonly addresses: readonly {
    readonly family: "ipv4" | "ipv6";
    readonly address: string;
    readonly prefix: number;
  }[];
}

export interface GuestOs {
  readonly id: string | undefined;
  readonly name: string | undefined;
  readonly prettyName: string | undefined;
  readonly version: string | undefined;
  readonly versionId: string | undefined;
  readonly kernelRelease: string | undefined;
  readonly kernelVersion: string | undefined;
  readonly machine: string | undefined;
}

/**
 * qemu-guest-agent (4.0 or later) in one guest. Every call rejects with kind `unavailable` when the agent
 * does not answer in time or its channel has ended, `unimplemented` when it does not know or allow the
 * command, `wrongState` when it refuses with words of its own, `malformed` when the answer makes no sense.
 */
export class GuestAgent {
  readonly name = "qemu";
  readonly #link: AgentLink;

  /** Reads `channel` from now until `signal` aborts; nobody else may. */
  constructor(channel: ByteChannel, options: { readonly signal: AbortSignal }) {
    this.#link = new AgentLink(channel, options.signal);
  }

  /** Resolves when the agent has answered a sync sent now. */
  sync(options?: RequestOptions): Promise<void> {
    return this.#link.sync(options);
  }

  async ping(options?: RequestOptions): Promise<void> {
    await this.#link.request("guest-ping", {}, options);
  }

  async info(
    options?: RequestOptions,
  ): Promise<{ version: string; enabledCommands: ReadonlySet<string> }> {
    const value = await this.#link.request("guest-info", {}, options);
    const info = parseAnswer("guest-info", infoSchema, value);
    const enabled = info.supported_commands.filter((command) => command.enabled);
    return { version: info.version, enabledCommands: new Set(enabled.map(({ name }) => name)) };
  }

  /**
   * Starts a program; answers its process id in the guest. With an `id`, a repeat gives the answer to the
   * earlier request when there is one, instead of starting it twice.
   */
  async exec(command: GuestCommand, options?: RequestOptions): Promise<{ pid: number }> {
    const value = await this.#link.request("guest-exec", toExecArguments(command), options);
    const { pid } = parseAnswer("guest-exec", execSchema, value);
    this.#link.forget(statusId(pid)); // of an earlier process with that number
    return { pid };
  }

  /**
   * How a program is doing. The agent forgets an exited one when it has told; an answer an earlier daemon
   * asked for and did not get is given here.
   */
  async execStatus(pid: number, options?: RequestOptions): Promise<ExecStatus> {
    const named = { id: statusId(pid), ...options };
    const value = await this.#link.request("guest-exec-status", { pid }, named);
    const status = parseAnswer("guest-exec-status", execStatusSchema, value);
    return {
      exited: status.exited,
      exitCode: status.exitcode,
      signal: status.signal,
      stdout: Buffer.from(status["out-data"], "base64"),
      stderr: Buffer.from(status["err-data"], "base64"),
      truncated: status["out-truncated"] || status["err-truncated"],
    };
  }

  /**
   * The answer to an `exec` with that request id, sent by this daemon or one before it; undefined when it
   * was not carried out and never will be, so that it may be sent. Kind `unavailable` when nobody can know.
   */
  async pendingAnswer(id: string, options?: RequestOptions): Promise<{ pid: number } | undefined> {
    const answer = await this.#link.earlier(id, options);
    if (answer === undefined) return undefined;
    if ("error" in answer) throw answer.error;
    return parseAnswer("guest-exec", execSchema, answer.value);
  }

  async networkInterfaces(options?: RequestOptions): Promise<readonly GuestInterface[]> {
    const command = "guest-network-get-interfaces";
    const value = await this.#link.request(command, {}, options);
    return parseAnswer(command, interfacesSchema, value).map((nic) => ({
      name: nic.name,
      mac: nic["hardware-address"],
      addresses: nic["ip-addresses"].map((ip) => ({
        family: ip["ip-address-type"],
        address: ip["ip-address"],
        prefix: ip.prefix,
      })),
    }));
  }

  async osInfo(options?: RequestOptions): Promise<GuestOs> {
    const value = await this.#link.request("guest-get-osinfo", {}, options);
    const os = parseAnswer("guest-get-osinfo", osInfoSchema, value);
    return {
      id: os.id,
      name: os.name,
      prettyName: os["pretty-name"],
      version: os.version,
      versionId: os["version-id"],
      kernelRelease: os["kernel-release"],
      kernelVersion: os["kernel-version"],
      machine: os.machine,
    };
  }

  async hostName(options?: RequestOptions): Promise<string> {
    return (await this.#ask("guest-get-host-name", hostNameSchema, options))["host-name"];
  }

  async timezone(options?: RequestOptions): Promise<GuestTimezone> {
    const { zone, offset } = await this.#ask("guest-get-timezone", timezoneSchema, options);
    return { name: zone, offsetSeconds: offset };
  }

  async users(options?: RequestOptions): Promise<readonly GuestUser[]> {
    const users = await this.#ask("guest-get-users", usersSchema, options);
    return users.map(({ user, domain, "login-time": loginTime }) => ({
      ...{ name: user, domain, loginTime },
    }));
  }

  async fileSystems(options?: RequestOptions): Promise<readonly GuestFileSystem[]> {
    const found = await this.#ask("guest-get-fsinfo", fileSystemsSchema, options);
    return found.map(({ name, mountpoint, type, disk, ...sizes }) => ({
      ...{ diskName: name, mountPoint: mountpoint, type },
      usedBytes: sizes["used-bytes"],
      totalBytes: sizes["total-bytes"],
      disks: disk.map(({ serial, "bus-type": bus }) => ({ serial, bus })),
    }));
  }

  /** Agents before 10.0 do not know it. */
  async load(options?: RequestOptions): Promise<GuestLoad> {
    const { load1m, load5m, load15m } = await this.#ask("guest-get-load", loadSchema, options);
    return { 1: load1m, 5: load5m, 15: load15m };
  }

  async isFrozen(options?: RequestOptions): Promise<boolean> {
    return (await this.#ask("guest-fsfreeze-status", freezeStatusSchema, options)) === "frozen";
  }

  /** Stops all writing to the guest's file systems. Until `thaw` the agent answers little else. */
  async freeze(options?: RequestOptions): Promise<void> {
    await this.#link.request("guest-fsfreeze-freeze", {}, options);
  }

  /** One that is not frozen is a success. It thaws whatever stands still. */
  async thaw(options?: RequestOptions): Promise<"all"> {
    await this.#link.request("guest-fsfreeze-thaw", {}, options);
    return "all";
  }

  /** Resolves when the guest has taken the order or is gone; the agent answers only a refusal. */
  async shutdown(mode: "powerdown" | "reboot" | "halt", options?: RequestOptions): Promise<void> {
    await this.#link.order("guest-shutdown", { mode }, options);
  }

  /**
   * Puts memory into use that was plugged in, and the first so many CPUs, no more as far as the guest lets go of them;
   * answers how many CPUs are in use.
   */
  async onlineResources(count: number, options?: RequestOptions): Promise<number> {
    const memory = await this.#ask("guest-get-memory-blocks", blocksSchema, options);
    const blocks = memory
      .filter(({ online }) => !online)
      .map((each) => ({ "phys-index": each["phys-index"], online: true }));
    if (blocks.length > 0) {
      await this.#link.request("guest-set-memory-blocks", { "mem-blks": blocks }, options);
    }
    const cpus = await this.#ask("guest-get-vcpus", cpusSchema, options);
    const vcpus = cpus
      .toSorted((one, other) => one["logical-id"] - other["logical-id"])
      .map((cpu, index) => ({ ...cpu, isWanted: index < count }))
      .filter(({ online, isWanted, ...cpu }) =>
        isWanted ? !online : online && cpu["can-offline"] === true,
      )
      .map(({ isWanted, ...cpu }) => ({ "logical-id": cpu["logical-id"], online: isWanted }));
    if (vcpus.length > 0) await this.#link.request("guest-set-vcpus", { vcpus }, options);
    const now = await this.#ask("guest-get-vcpus", cpusSchema, options);
    return now.filter(({ online }) => online).length;
  }

  async #ask<S extends v.GenericSchema>(
    command: string,
    schema: S,
    options?: RequestOptions,
  ): Promise<v.InferOutput<S>> {
    return parseAnswer(command, schema, await this.#link.request(command, {}, options));
  }

  /** Beside the keys that a user of the guest has. Those that are there already are there once. */
  async addAuthorizedKeys(
    user: string,
    keys: readonly string[],
    options?: RequestOptions,
  ): Promise<void> {
    const named = { username: user, keys };
    await this.#link.request("guest-ssh-add-authorized-keys", named, options);
  }

  /** Those that are not there are none the less gone. */
  async removeAuthorizedKeys(
    user: string,
    keys: readonly string[],
    options?: RequestOptions,
  ): Promise<void> {
    const named = { username: user, keys };
    await this.#link.request("guest-ssh-remove-authorized-keys", named, options);
  }

  /** Of a user that is there. */
  async setPassword(user: string, password: string, options?: RequestOptions): Promise<void> {
    const secret = Buffer.from(password, "utf8").toString("base64");
    const named = { username: user, password: secret, crypted: false };
    await this.#link.request("guest-set-user-password", named, options);
  }

  /** Sets the guest's clock, system and hardware; exact to a microsecond. */
  async setTime(time: Date, options?: RequestOptions): Promise<void> {
    await this.#link.request("guest-set-time", { time: time.getTime() * NS_PER_MS }, options);
  }
}

function statusId(pid: number): string {
  return `exec-status-${pid}`;
}

function toExecArguments(command: GuestCommand): Readonly<Record<string, unknown>> {
  const { path, args, env, captureOutput, input } = command;
  if (input !== undefined && input.length > MAX_INPUT_BYTES) {
    throw new TrineError(
      "invalid",
      `${path}: ${input.length} bytes of input, the guest agent takes at most ${MAX_INPUT_BYTES}`,
    );
  }
  return {
    path,
    arg: args,
    env,
    "capture-output": captureOutput,
    ...(input === undefined ? {} : { "input-data": Buffer.from(input).toString("base64") }),
  };
}
