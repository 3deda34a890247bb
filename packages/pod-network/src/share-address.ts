import { TrineError } from "@trine/base";
import { LOCAL_IPV6, linkLocalOf } from "./guest-network.ts";
import { networkOf } from "./ip-bits.ts";
import type { PodInterface } from "./pod-interface.ts";
import { mustRun } from "./run-command.ts";
import type { RunInPod } from "./run-command.ts";
import { TO_MACHINE, sharingRules } from "./sharing-rules.ts";
import type { SharingInput } from "./sharing-rules.ts";

/** Linux gives these to nobody as long as it is not told to: a Linux guest's own connections begin below. */
const LOCAL_PORTS = "61000 65535";

type Family = "ipv4" | "ipv6";

/** Where the namespace itself is for the machine, and the machine alone. */
const LOCAL: Readonly<Record<Family, string>> = { ipv4: linkLocalOf(0), ipv6: LOCAL_IPV6 };

/**
 * Gives the pod's addresses back to its network namespace too, which the machine behind the tap keeps as well
 * (docs/decisions/0008): what a socket of the namespace waits for is the namespace's, the rest is the machine's.
 * After `connectTaps`, at any time, and again; the machine notices nothing.
 */
export async function shareAddress(run: RunInPod, input: SharingInput): Promise<void> {
  const doing = `share the address of ${input.interface.name} with ${input.tap}`;
  const families = (["ipv4", "ipv6"] as const).filter((family) =>
    input.interface.addresses.some((each) => each.family === family),
  );
  if (families.length === 0) {
    throw new TrineError("unimplemented", `${doing}: it has no address`);
  }
  for (const settings of settingsOf(input, families)) {
    await mustRun(run, doing, ["sysctl", "-eqw", ...settings], "");
  }
  for (const family of families) {
    const ip = ["ip", family === "ipv4" ? "-4" : "-6"];
    const own = input.interface.addresses.filter((each) => each.family === family);
    await mustRun(run, doing, [...ip, "-batch", "-"], addressCommands(input, family, own));
    const rules = await mustRun(run, doing, [...ip, "-j", "rule", "show"], "");
    for (const line of ruleCommands(rules, LOCAL[family], own)) {
      await mustRun(run, doing, [...ip, "rule", ...line], "");
    }
  }
  await mustRun(run, doing, ["nft", "-f", "-"], sharingRules(input));
}

/** In this order: a link that gets IPv6 gives itself an address at once, and asks for routers. */
function settingsOf(
  { interface: pod, tap }: SharingInput,
  families: readonly Family[],
): readonly (readonly string[])[] {
  const ipv4 = [
    "net/ipv4/ip_forward=1",
    // The guest's source address is local here, and the way back to it is not the main table's.
    "net/ipv4/conf/all/rp_filter=0",
    `net/ipv4/conf/${tap}/rp_filter=0`,
    `net/ipv4/conf/${pod.name}/send_redirects=0`,
    `net/ipv4/ip_local_port_range=${LOCAL_PORTS}`,
  ];
  if (!families.includes("ipv6")) return [ipv4];
  const quiet = [`net/ipv6/conf/${tap}/addr_gen_mode=1`, `net/ipv6/conf/${tap}/accept_ra=0`];
  const ipv6 = [`net/ipv6/conf/${tap}/disable_ipv6=0`, "net/ipv6/conf/all/forwarding=1"];
  return [ipv4, quiet, ipv6];
}

/** As CNI left them, and a table in which the address is the machine's. */
function addressCommands(
  { interface: pod, tap }: SharingInput,
  family: Family,
  own: PodInterface["addresses"],
): string {
  const isIpv4 = family === "ipv4";
  const single = isIpv4 ? 32 : 128;
  // Of IPv6 routes there is no scope, and who answers for the guest is not known from `connectTaps`.
  const onLink = isIpv4 ? ["scope link"] : [];
  const before = isIpv4
    ? []
    : [
        `address replace ${LOCAL_IPV6}/128 dev ${tap} nodad`,
        ...own.map(({ address }) => {
          return `neighbour replace ${address} lladdr ${pod.mac} dev ${tap} nud permanent`;
        }),
      ];
  const lines = own.flatMap(({ address, prefix }) => [
    `route replace table ${TO_MACHINE} ${address}/${single} dev ${tap} src ${LOCAL[family]}`,
    isIpv4
      ? `route replace table local local ${address} dev ${pod.name} scope host src ${address}`
      : `route replace table local local ${address} dev ${pod.name}`,
    `route flush table main exact ${address}/${single} dev ${tap}`,
    ...(prefix === single
      ? []
      : [
          [
            `route replace ${networkOf({ family, address, prefix })} dev ${pod.name}`,
            ...onLink,
            `src ${address}`,
          ].join(" "),
        ]),
  ]);
  const routes = pod.routes
    .filter((route) => route.family === family)
    .map(({ to, via, metric }) =>
      [
        `route replace ${to}`,
        ...(via === undefined ? [] : [`via ${via}`]),
        `dev ${pod.name}`,
        ...(metric === undefined ? [] : [`metric ${metric}`]),
        // A gateway may be reached by an address that no route covers.
        ...(via === undefined ? onLink : ["onlink"]),
      ].join(" "),
    );
  return `${[...before, ...lines, ...routes].join("\n")}\n`;
}

interface Rule {
  readonly priority?: number;
  readonly table?: string;
  readonly fwmark?: string;
  readonly src?: string;
  readonly dst?: string;
}

/**
 * The rules that lead to that table come before the local table's, whose rule has the first place in every new
 * namespace and moves to the second.
 */
function ruleCommands(shown: string, local: string, own: PodInterface["addresses"]): string[][] {
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
  for (const { address } of own) {
    if (has((rule) => rule.src === local && rule.dst === address && rule.table === table)) continue;
    commands.push([...["add", "pref", "0", "from", local, "to", address], ...["lookup", table]]);
  }
  if (has(isLocalAt(0))) commands.push(["del", "pref", "0", "lookup", "local"]);
  return commands;
}
