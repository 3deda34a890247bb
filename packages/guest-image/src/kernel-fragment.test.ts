import { expect, test } from "vitest";
import { KERNEL_FRAGMENT, PASSING_FRAGMENT } from "./kernel-fragment.ts";
import { parseKernelConfig, checkKernelConfig, featuresOf } from "./kernel-config.ts";
import { ON_DEMAND_MODULES } from "./on-demand-modules.ts";

const config = parseKernelConfig(KERNEL_FRAGMENT + PASSING_FRAGMENT);

test("the small kernel has what a guest needs, each option said once", () => {
  checkKernelConfig("the fragment", config);
  expect(featuresOf(config)).toContain("virtio-mem");
  const lines = [...(KERNEL_FRAGMENT + PASSING_FRAGMENT).matchAll(/^CONFIG_.*$/gm)].map(String);
  expect(lines.filter((line, index) => lines.indexOf(line) !== index)).toEqual([]);
});

/** Options of modules that are not called so; undefined = part of another's. */
const OPTIONS: Readonly<Record<string, string>> = {
  nfnetlink: "NETFILTER_NETLINK_LOG",
  nfnetlink_log: "NETFILTER_NETLINK_LOG",
  nfnetlink_queue: "NETFILTER_NETLINK_QUEUE",
  nf_conntrack_netlink: "NF_CT_NETLINK",
  nf_reject_ipv4: "IP_NF_TARGET_REJECT",
  nf_reject_ipv6: "IP6_NF_TARGET_REJECT",
  nft_chain_nat: "NFT_NAT",
  nft_reject_inet: "NFT_REJECT",
  nft_reject_ipv4: "NFT_REJECT",
  nft_reject_ipv6: "NFT_REJECT",
  ipt_REJECT: "IP_NF_TARGET_REJECT",
  ip6t_REJECT: "IP6_NF_TARGET_REJECT",
  xt_tcpudp: "NETFILTER_XTABLES",
  xt_nat: "NF_NAT",
  xt_set: "NETFILTER_XT_SET",
  xt_mark: "NETFILTER_XT_MARK",
  xt_connmark: "NETFILTER_XT_CONNMARK",
};

function optionOf(module: string): string {
  const named = OPTIONS[module];
  if (named !== undefined) return named;
  const [, family = "", rest = ""] = /^(iptable|ip6table|xt|ip_set)_(.*)$/.exec(module) ?? [];
  const upper = rest.toUpperCase();
  if (family === "iptable") return `IP_NF_${upper}`;
  if (family === "ip6table") return `IP6_NF_${upper}`;
  if (family === "ip_set") return `IP_SET_${upper}`;
  if (family === "xt") {
    return `NETFILTER_XT_${rest === upper ? "TARGET" : "MATCH"}_${upper}`;
  }
  return module.toUpperCase();
}

test("what Debian's kernel loads on demand is built into it", () => {
  const isBuiltIn = (module: string): boolean => config.get(optionOf(module)) === "y";
  expect(ON_DEMAND_MODULES.filter((module) => !isBuiltIn(module))).toEqual([]);
});
