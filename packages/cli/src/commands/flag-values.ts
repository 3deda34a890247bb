import { InvalidArgumentError, Option } from "commander";
import type { Command } from "commander";
import { parseQuantity } from "@trine/annotations";
import { parseDuration } from "./duration.ts";
import type { Io } from "../io.ts";
import type { PortFlag, VolumeFlag } from "../pods/run-pod.ts";

const MAX_REPEATS = 256;

type Map = Readonly<Record<string, string>>;

export function absolute(path: string): string {
  if (path.startsWith("/")) return path.replace(/(.)\/+$/, "$1");
  throw new InvalidArgumentError("An absolute path is wanted.");
}

export function containerdNamespace(name: string): string {
  if (/^[A-Za-z0-9]+(?:[._-][A-Za-z0-9]+)*$/.test(name) && name.length <= 76) return name;
  throw new InvalidArgumentError("Letters, digits and single . _ - are wanted.");
}

export function podNamespace(name: string): string {
  if (/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/.test(name)) return name;
  throw new InvalidArgumentError("Lower-case letters, digits and - are wanted.");
}

export function duration(text: string): number {
  const ms = parseDuration(text);
  if (ms !== undefined) return ms;
  throw new InvalidArgumentError("A time such as 30s, 5m or 1h30m is wanted.");
}

function yesNo(text: string | boolean): boolean {
  if (text === true || text === "true") return true;
  if (text === false || text === "false") return false;
  throw new InvalidArgumentError("Allowed are true, false.");
}

export function count(text: string): number {
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw new InvalidArgumentError("A whole number is wanted.");
}

export function portNumber(text: string): number {
  if (/^\d{1,5}$/.test(text) && Number(text) < 65_536) return Number(text);
  throw new InvalidArgumentError("A port from 0 to 65535 is wanted.");
}

export function quantity(text: string): string {
  if ((parseQuantity(text) ?? 0n) > 0n) return text;
  throw new InvalidArgumentError("An amount such as 500m, 2 or 64Mi is wanted.");
}

/** `KEY=VALUE`, to be given several times. */
export function keyValue(text: string, before: Map = {}): Map {
  const at = text.indexOf("=");
  if (at < 1) throw new InvalidArgumentError("KEY=VALUE is wanted.");
  if (Object.keys(before).length >= MAX_REPEATS) throw new InvalidArgumentError("Too many.");
  return { ...before, [text.slice(0, at)]: text.slice(at + 1) };
}

/** `CLAIM=/DIRECTORY` */
export function claim(text: string, before: Map = {}): Map {
  const all = keyValue(text, before);
  if (text.slice(text.indexOf("=") + 1).startsWith("/")) return all;
  throw new InvalidArgumentError("CLAIM=/DIRECTORY is wanted.");
}

export function files(text: string, before: readonly string[] = []): readonly string[] {
  if (text === "") throw new InvalidArgumentError("A file's name, or -, is wanted.");
  return [...before, text];
}

/** `SOURCE:TARGET[:ro]` */
export function volume(text: string, before: readonly VolumeFlag[] = []): readonly VolumeFlag[] {
  const match = /^([^:]+):(\/[^:]*)(?::(ro|rw))?$/.exec(text);
  const [, source = "", target = "", mode] = match ?? [];
  if (match === null) throw new InvalidArgumentError("PATH:/PATH-IN-CONTAINER[:ro] is wanted.");
  return [...before, { source, target, readOnly: mode === "ro" }];
}

/** `[IP:]HOST:CONTAINER[/udp]` */
export function publish(text: string, before: readonly PortFlag[] = []): readonly PortFlag[] {
  const match = /^(?:([\d.]+|\[[0-9a-f:.]+\]):)?(\d{1,5}):(\d{1,5})(?:\/(tcp|udp|sctp))?$/.exec(
    text,
  );
  const [, ip, host, port, protocol = "tcp"] = match ?? [];
  if (match === null) throw new InvalidArgumentError("[IP:]PORT:CONTAINER-PORT[/udp] is wanted.");
  const flag = {
    hostPort: Number(host),
    containerPort: Number(port),
    protocol: protocol.toUpperCase(),
    ...(ip === undefined ? {} : { hostIP: ip.replaceAll(/[[\]]/g, "") }),
  };
  return [...before, flag];
}

export function selectorOption(): Option {
  return new Option("-l, --selector <labels>", "pods with these labels: app=web,tier!=db");
}

export function namespaceOption(): Option {
  return new Option("-n, --namespace <name>", "only this namespace").argParser(podNamespace);
}

/** Shared by everything that starts pods. */
export function startOptions(io: Io): Option[] {
  return [
    new Option("--wait [true|false]", "wait until the pod runs").default(true).argParser(yesNo),
    new Option("--for <condition>", "until when to wait")
      .choices(["running", "exited"])
      .default("running"),
    new Option("--timeout <time>", "wait no longer; the pod stays as it is").argParser(duration),
    progressOption(io),
  ];
}

export function progressOption({ config }: Io): Option {
  return new Option("--progress <form>", "how steps are shown on stderr")
    .choices(["auto", "plain", "json", "none"])
    .default(config.settings.progress.value);
}

/** Of verbs that take away what people may want to keep. */
export function yesOption(): Option {
  return new Option("-y, --yes", "do not ask, on a terminal neither").default(false);
}

export function cgroupOption(): Option {
  return new Option("--cgroup-parent <path>", "control group the pod is put into")
    .argParser(absolute)
    .default("", "containerd's own");
}

export function withOptions(command: Command, options: readonly Option[]): Command {
  for (const option of options) command.addOption(option);
  return command;
}

export function examples(...lines: readonly string[]): string {
  return ["", "Examples:", ...lines.map((line) => `  ${line}`)].join("\n");
}

export const POD = "NAME, NAMESPACE/NAME, or the start of a sandbox or container id";
