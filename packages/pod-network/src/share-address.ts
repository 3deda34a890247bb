import { TrineError } from "@trine/base";
import { linkLocalOf } from "./guest-network.ts";
import { networkOf } from "./ip-bits.ts";
import type { PodInterface } from "./pod-interface.ts";
import { mustRun } from "./run-command.ts";
import type { RunInPod } from "./run-command.ts";
import { TO_MACHINE, sharingRules } from "./sharing-rules.ts";
import type { SharingInput } from "./sharing-rules.ts";

/** Linux gives these to nobody as long as it is not told to: a Linux guest's own connections begin below. */
const LOCAL_PORTS = "61000 65535";

/**
 * Gives the pod's IPv4 address back to its network namespace too, which the machine behind the tap keeps as well
 * (docs/decisions/0008): what a socket of the namespace waits for is the namespace's, the rest is the machine's.
 * After `connectTaps`, at any time, and again; the machine notices nothing. IPv6 stays the machine's.
 */
export async function shareAddress(run: RunInPod, input: SharingInput): Promise<void> {
  const doing = `share the address of ${input.interface.name} with ${input.tap}`;
  const own = ipv4Of(input.interface);
  if (own.length === 0) {
    throw new TrineError("unimplemented", `${doing}: it has no IPv4 address`);
  }
  await mustRun(run, doing, ["sysctl", "-eqw", ...settings(input)], "");
  await mustRun(run, doing, ["ip", "-batch", "-"], addressCommands(input, own));
  const rules = await mustRun(run, doing, ["ip", "-j", "-4", "rule", "show"], "");
  for (const line of ruleCommands(rules, own)) {
    await mustRun(run, doing, ["ip", "-4", "rule", ...line], "");
  }
  await mustRun(run, doing, ["nft", "-f", "-"], sharingRules(input));
}

function ipv4Of(pod: PodInterface): PodInterface["addresses"] {
  return pod.addresses.filter(({ family }) => family === "ipv4");
}

function settings({ interface: pod, tap }: SharingInput): string[] {
  return [
    "net/ipv4/ip_forward=1",
    // The guest's source address is local here, and the way back to it is not the main table's.
    "net/ipv4/conf/all/rp_filter=0",
    `net/ipv4/conf/${tap}/rp_filter=0`,
    `net/ipv4/conf/${pod.name}/send_redirects=0`,
    `net/ipv4/ip_local_port_range=${LOCAL_PORTS}`,
  ];
}

/** As CNI left them, and a table in which the address is the machine's. */
function addressCommands(
  { interface: pod, tap }: SharingInput,
  own: PodInterface["addresses"],
): string {
  const lines = own.flatMap(({ address, prefix }) => [
    `route replace table ${TO_MACHINE} ${address}/32 dev ${tap} src ${linkLocalOf(0)}`,
    `route replace table local local ${address} dev ${pod.name} scope host src ${address}`,
    `route flush table main exact ${address}/32 dev ${tap}`,
    ...(prefix === 32
      ? []
      : [
          `route replace ${networkOf({ family: "ipv4", address, prefix })} dev ${pod.name} scope link src ${address}`,
        ]),
  ]);
  const routes = pod.routes
    .filter(({ family }) => family === "ipv4")
    .map(({ to, via, metric }) =>
      [
        `route replace ${to}`,
        ...(via === undefined ? [] : [`via ${via}`]),
        `dev ${pod.name}`,
        ...(metric === undefined ? [] : [`metric ${metric}`]),
        // A gateway may be reached by an address that no route covers.
        ...(via === undefined ? ["scope link"] : ["onlink"]),
      ].join(" "),
    );
  return `${[...lines, ...routes].join("\n")}\n`;
}

interface Rule {
  readonly priority?: number;
  readonly table?: string;
  readonly fwmark?: string;
  readonly src?: string;
}

/**
 * The rules that lead to that table come before the local table's, whose rule has the first place in every new
 * namespace and moves to the second.
 */
function ruleCommands(shown: string, own: PodInterface["addresses"]): string[][] {
  const rules = JSON.parse(shown) as readonly Rule[];
  const has = (test: (rule: Rule) => boolean): boolean => rules.some(test);
  const table = String(TO_MACHINE);
  const isLocalAt = (priority: number) => (rule: Rule) =>
    rule.priority === priority && rule.table === "local";
  const commands: string[][] = [];
  if (!has(isLocalAt(1))) commands.push(["add", "pref", "1", "lookup", "local"]);
  if (!has((rule) => rule.fwmark !== undefined && rule.table === table)) {
    commands.push(["add", "pref", "0", "fwmark", String(TO_MACHINE), "lookup", table]);
  }
  if (!has((rule) => rule.src === linkLocalOf(0) && rule.table === table)) {
    for (const { address } of own) {
      commands.push([
        ...["add", "pref", "0", "from", linkLocalOf(0), "to", address],
        ...["lookup", table],
      ]);
    }
  }
  if (has(isLocalAt(0))) commands.push(["del", "pref", "0", "lookup", "local"]);
  return commands;
}
